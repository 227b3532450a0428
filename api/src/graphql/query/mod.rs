//! What can be asked. One file for each kind of asker.

mod admin;
mod reads;

use async_graphql::MergedObject;

use admin::AdminQuery;
use reads::UserQuery;

/// What can be asked.
#[derive(MergedObject, Default)]
pub struct Query(UserQuery, AdminQuery);

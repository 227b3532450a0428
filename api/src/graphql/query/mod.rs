//! What can be asked. One file for each kind of asker.

mod admin;
mod reads;
mod users;

use async_graphql::MergedObject;

use admin::AdminQuery;
use reads::UserQuery;
use users::UsersQuery;

/// What can be asked.
#[derive(MergedObject, Default)]
pub struct Query(UserQuery, AdminQuery, UsersQuery);

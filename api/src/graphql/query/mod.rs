//! Queries, in a file for each kind of caller.

mod admin;
mod reads;

use async_graphql::MergedObject;

use admin::AdminQuery;
use reads::UserQuery;

/// Everything that can be read.
#[derive(MergedObject, Default)]
pub struct Query(UserQuery, AdminQuery);

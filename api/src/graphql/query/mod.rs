//! Queries, in a file for each kind of caller.

mod admin;
mod reads;
mod users;

use async_graphql::MergedObject;

use admin::AdminQuery;
use reads::UserQuery;
use users::UsersQuery;

/// Everything that can be read.
#[derive(MergedObject, Default)]
pub struct Query(UserQuery, AdminQuery, UsersQuery);

//! Queries about users, for administrators.

use async_graphql::{Context, Object, Result};
use wharfinger_jobs::queries;
use wharfinger_jobs::queries::page::PageArgs;

use crate::graphql::context::{administrator, list, services, viewer};
use crate::graphql::types::{UserConnection, UserFilter};

/// Queries about users, for administrators.
#[derive(Default)]
pub(super) struct UsersQuery;

#[Object]
impl UsersQuery {
    /// Administrators only: every user, by name.
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which users.")] filter: Option<UserFilter>,
    ) -> Result<UserConnection> {
        administrator(ctx)?;
        let viewer = viewer(ctx)?;
        let db = services(ctx).db.clone();
        let filter = filter.unwrap_or_default().into();
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let users = queries::users::list(&db, viewer, &filter, &page)
            .await
            .map_err(list)?;
        Ok(UserConnection::new(users, move || {
            let (db, filter) = (db.clone(), filter.clone());
            Box::pin(async move { queries::users::count(&db, viewer, &filter).await })
        }))
    }
}

//! Queries of administrators.

use async_graphql::{Context, Object, Result};
use wharfinger_jobs::queries;

use crate::graphql::context::{administrator, internal, list, services, viewer};
use crate::graphql::types::{
    AuditEntryConnection, AuditFilter, Queue, UserConnection, UserFilter, page,
};

/// Queries of administrators.
#[derive(Default)]
pub(super) struct AdminQuery;

#[Object]
impl AdminQuery {
    /// Administrators only: every queue with its depth, age of its oldest job, and dead letters; by name.
    async fn queues(&self, ctx: &Context<'_>) -> Result<Vec<Queue>> {
        administrator(ctx)?;
        let services = services(ctx);
        let depths = queries::queues::depths(&services.db, services.clock.now())
            .await
            .map_err(|error| internal(&error))?;
        Ok(depths.into_iter().map(Queue::from).collect())
    }

    /// Administrators only: administrative acts, with their actor, time and subject; newest first.
    async fn audit_log(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which entries.")] filter: Option<AuditFilter>,
    ) -> Result<AuditEntryConnection> {
        administrator(ctx)?;
        let viewer = viewer(ctx)?;
        let db = services(ctx).db.clone();
        let filter = filter.unwrap_or_default().into();
        let page = page(first, after, last, before);
        let entries = queries::audit::list(&db, viewer, &filter, &page)
            .await
            .map_err(list)?;
        Ok(AuditEntryConnection::new(entries, async move {
            queries::audit::count(&db, viewer, &filter).await
        }))
    }

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
        let page = page(first, after, last, before);
        let users = queries::users::list(&db, viewer, &filter, &page)
            .await
            .map_err(list)?;
        Ok(UserConnection::new(users, async move {
            queries::users::count(&db, viewer, &filter).await
        }))
    }
}

//! Queries of every user: about themselves, their images and jobs, and the hosts.

use async_graphql::{Context, ID, Object, Result};
use wharfinger_jobs::queries;

use crate::graphql::context::{administrator, caller, coded, list, load, services, viewer};
use crate::graphql::enums::ImageOrder;
use crate::graphql::ids::{self, Kind};
use crate::graphql::loaders::{
    ApiTokenId, AuditEntryId, HostId, ImageId, JobId, LedgerEntryId, RegistryCredentialId, UserId,
};
use crate::graphql::types::{
    Balance, HostConnection, Image, ImageConnection, ImageFilter, Job, JobConnection, JobFilter,
    Node, User, images, jobs, page,
};
use crate::http::ErrorCode;

/// Most ids that `nodes` takes.
const MAX_NODES: usize = 100;

/// Queries of every user.
#[derive(Default)]
pub(super) struct UserQuery;

#[Object]
impl UserQuery {
    /// The signed-in user.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(User(caller(ctx)?.user.clone()))
    }

    /// The signed-in user's credits.
    async fn balance(&self, ctx: &Context<'_>) -> Result<Balance> {
        Ok(wharfinger_jobs::ledger::Balance::from(&caller(ctx)?.user).into())
    }

    /// One image that the viewer may see: their own, a public one, or, for an administrator, any. Null for any other.
    async fn image(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The image's id.")] id: ID,
    ) -> Result<Option<Image>> {
        load(ctx, Kind::Image.parse(&id).map(ImageId)).await
    }

    /// The viewer's private images and every public image, newest first; without a filter only those HELD.
    #[expect(clippy::too_many_arguments, reason = "the contract's arguments")]
    async fn images(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which images.")] filter: Option<ImageFilter>,
        #[graphql(
            desc = "In which order; PULLED_AT_DESC if nothing is given. A cursor is good for its own order."
        )]
        order_by: Option<ImageOrder>,
    ) -> Result<ImageConnection> {
        let filter = filter.unwrap_or_default().into();
        let order = order_by.map_or_else(Default::default, Into::into);
        let page = page(first, after, last, before);
        images(ctx, caller(ctx)?.user.id, filter, order, page).await
    }

    /// One job of the viewer, or, for an administrator, any. Null for any other.
    async fn job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The job's id.")] id: ID,
    ) -> Result<Option<Job>> {
        load(ctx, Kind::Job.parse(&id).map(JobId)).await
    }

    /// The viewer's jobs, newest first; every user's for an administrator.
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
        #[graphql(desc = "Which jobs.")] filter: Option<JobFilter>,
    ) -> Result<JobConnection> {
        let filter = filter.unwrap_or_default();
        if filter.user_id.is_some() {
            administrator(ctx)?;
        }
        let page = page(first, after, last, before);
        jobs(ctx, viewer(ctx)?, filter.into(), page).await
    }

    /// The Docker hosts of the fleet, by name.
    async fn hosts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<HostConnection> {
        caller(ctx)?;
        let db = services(ctx).db.clone();
        let page = page(first, after, last, before);
        let hosts = queries::hosts::list(&db, &page).await.map_err(list)?;
        Ok(HostConnection::new(hosts, async move {
            queries::hosts::count(&db).await
        }))
    }

    /// Anything with an id that the viewer may see; null for any other id.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its id.")] id: ID,
    ) -> Result<Option<Node>> {
        node(ctx, &id).await
    }

    /// At most 100 ids; null in place of each that the viewer may not see.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Their ids, in the order of the answer.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MAX_NODES {
            return Err(coded(
                ErrorCode::LimitExceeded,
                format!("`nodes` takes at most {MAX_NODES} ids"),
            ));
        }
        futures::future::try_join_all(ids.iter().map(|id| node(ctx, id))).await
    }
}

async fn node(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    caller(ctx)?;
    let Some((kind, id)) = ids::parse(id) else {
        return Ok(None);
    };
    Ok(match kind {
        Kind::User => load(ctx, Some(UserId(id))).await?.map(Node::User),
        Kind::Image => load(ctx, Some(ImageId(id))).await?.map(Node::Image),
        Kind::Job => load(ctx, Some(JobId(id))).await?.map(Node::Job),
        Kind::Host => load(ctx, Some(HostId(id))).await?.map(Node::Host),
        Kind::LedgerEntry => load(ctx, Some(LedgerEntryId(id)))
            .await?
            .map(Node::LedgerEntry),
        Kind::AuditEntry => load(ctx, Some(AuditEntryId(id)))
            .await?
            .map(Node::AuditEntry),
        Kind::RegistryCredential => load(ctx, Some(RegistryCredentialId(id)))
            .await?
            .map(Node::RegistryCredential),
        Kind::ApiToken => load(ctx, Some(ApiTokenId(id))).await?.map(Node::ApiToken),
    })
}

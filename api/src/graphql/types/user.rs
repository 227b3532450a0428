//! A user.

use async_graphql::{Context, ID, InputObject, Object, Result};
use uuid::Uuid;
use wharfinger_entity::{Role, UserStatus, user};
use wharfinger_jobs::ledger;
use wharfinger_jobs::queries::images::{ImageFilter, ImageOrder};
use wharfinger_jobs::queries::jobs::JobFilter;
use wharfinger_jobs::queries::page::PageArgs;
use wharfinger_jobs::queries::{self, Viewer};

use super::rows::Row;
use super::size::List;
use super::{
    ApiToken, Balance, Image, ImageConnection, JobConnection, LedgerEntryConnection,
    RegistryCredential, page,
};
use crate::graphql::context::{internal, list, load, services, viewer};
use crate::graphql::ids::Kind;
use crate::graphql::loaders::TokensOf;
use crate::graphql::scalars::DateTime;

/// A user, as they themselves or an administrator see them.
#[derive(Clone)]
pub(crate) struct User(pub(crate) user::Model);

impl Row for User {
    const WAITING: &'static [&'static str] = &[
        "images",
        "jobs",
        "ledger",
        "registryCredentials",
        "apiTokens",
    ];
}

/// A user, as they themselves or an administrator see them.
#[Object]
impl User {
    /// Their id.
    pub(crate) async fn id(&self) -> ID {
        Kind::User.id(self.0.id)
    }

    /// The name, unique regardless of case.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The role.
    async fn role(&self) -> Role {
        self.0.role
    }

    /// Whether the user may use Wharfinger.
    async fn status(&self) -> UserStatus {
        self.0.status
    }

    /// Their credits.
    async fn balance(&self) -> Balance {
        ledger::Balance::from(&self.0).into()
    }

    /// The images that they hold, newest first, and every public one.
    async fn images(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<ImageConnection> {
        let page = page(first, after, last, before);
        let (filter, order) = (ImageFilter::default(), ImageOrder::default());
        images(ctx, self.0.id, filter, order, page).await
    }

    /// Their jobs, newest first.
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<JobConnection> {
        let viewer = viewer(ctx)?;
        let filter = JobFilter {
            user_id: Some(self.0.id),
            ..JobFilter::default()
        };
        jobs(ctx, viewer, filter, page(first, after, last, before)).await
    }

    /// Every movement of their credits, newest first. Their amounts add up to balance.total.
    async fn ledger(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the front; 20 if nothing is given, at most 100.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many from the back, at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<LedgerEntryConnection> {
        let (db, user_id) = (services(ctx).db.clone(), self.0.id);
        let viewer = viewer(ctx)?;
        let page = page(first, after, last, before);
        let entries = queries::ledger::list(&db, viewer, user_id, &page)
            .await
            .map_err(list)?;
        Ok(LedgerEntryConnection::new(entries, async move {
            queries::ledger::count(&db, viewer, user_id).await
        }))
    }

    /// The user's logins at private registries, by registry. Their secrets are never shown.
    async fn registry_credentials(&self, ctx: &Context<'_>) -> Result<List<RegistryCredential>> {
        let db = &services(ctx).db;
        let logins = queries::registry_credentials::of_user(db, viewer(ctx)?, self.0.id).await;
        let logins = logins.map_err(|error| internal(&error))?;
        Ok(logins.into_iter().map(RegistryCredential::from).collect())
    }

    /// The user's tokens: those with a name, and those of signing in that have not expired; newest first.
    async fn api_tokens(&self, ctx: &Context<'_>) -> Result<List<ApiToken>> {
        let tokens = load(ctx, Some(TokensOf(self.0.id))).await?;
        Ok(List(tokens.unwrap_or_default()))
    }

    /// When the user was created.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// Returns a page of a user's private images and every public one.
pub(crate) async fn images(
    ctx: &Context<'_>,
    user_id: Uuid,
    filter: ImageFilter,
    order: ImageOrder,
    page: PageArgs,
) -> Result<ImageConnection> {
    let db = services(ctx).db.clone();
    let viewer = viewer(ctx)?;
    let with = Image::asked_for(ctx);
    let images = queries::images::list(&db, viewer, user_id, &filter, order, &page, with)
        .await
        .map_err(list)?;
    Ok(ImageConnection::new(images, async move {
        queries::images::count(&db, viewer, user_id, &filter).await
    }))
}

impl From<user::Model> for User {
    fn from(user: user::Model) -> Self {
        Self(user)
    }
}

/// A filter of users.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct UserFilter {
    /// Only users with this role.
    role: Option<Role>,
    /// Only users with this status.
    status: Option<UserStatus>,
    /// Part of the name, case-insensitive.
    search: Option<String>,
}

impl From<UserFilter> for queries::users::UserFilter {
    fn from(filter: UserFilter) -> Self {
        Self {
            role: filter.role,
            status: filter.status,
            search: filter.search,
        }
    }
}

/// Returns a page of jobs.
pub(crate) async fn jobs(
    ctx: &Context<'_>,
    viewer: Viewer,
    filter: JobFilter,
    page: PageArgs,
) -> Result<JobConnection> {
    let db = services(ctx).db.clone();
    let jobs = queries::jobs::list(&db, viewer, &filter, &page)
        .await
        .map_err(list)?;
    Ok(JobConnection::new(jobs, async move {
        queries::jobs::count(&db, viewer, &filter).await
    }))
}

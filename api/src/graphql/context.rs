//! What resolvers find in their context: the services, who is calling, and the loaders of the request.

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, Error, ErrorExtensions as _};
use uuid::Uuid;
use wharfinger_entity::{Role, user};
use wharfinger_jobs::error::{ServiceError, UserError};
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::page::ListError;
use wharfinger_jobs::services::Services;
use wharfinger_jobs::watch::Watches;

use super::loaders::Loader;
use crate::http::ErrorCode;

/// What the whole schema works with.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) services: Services,
    pub(crate) watches: Watches,
}

/// Who is calling: put into the request's data by the gate.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The user as the token was checked.
    pub(crate) user: user::Model,
    /// W3C trace context that came with the request.
    pub(crate) traceparent: Option<String>,
}

/// Loaders for one request, which answer only what its caller may see.
pub(crate) fn loader_for(services: &Services, caller: &Caller) -> DataLoader<Loader> {
    DataLoader::new(
        Loader::new(services.db.clone(), Viewer::from(&caller.user)),
        tokio::spawn,
    )
}

/// The services.
pub(crate) fn services<'c>(ctx: &Context<'c>) -> &'c Services {
    &ctx.data_unchecked::<Gateway>().services
}

/// The loaders of this request; nobody has any without being signed in.
pub(crate) fn loaders<'c>(ctx: &Context<'c>) -> Result<&'c DataLoader<Loader>, Error> {
    ctx.data_opt().ok_or_else(unauthenticated)
}

/// Who is calling; an error if nobody is signed in.
pub(crate) fn caller<'c>(ctx: &Context<'c>) -> Result<&'c Caller, Error> {
    ctx.data_opt().ok_or_else(unauthenticated)
}

/// The same as a viewer.
pub(crate) fn viewer(ctx: &Context<'_>) -> Result<Viewer, Error> {
    Ok(Viewer::from(&caller(ctx)?.user))
}

/// The limit on owners that the caller is under: none for an administrator.
pub(crate) fn owner(ctx: &Context<'_>) -> Result<Option<Uuid>, Error> {
    Ok(viewer(ctx)?.owner())
}

/// An error unless an administrator is calling.
pub(crate) fn administrator(ctx: &Context<'_>) -> Result<(), Error> {
    match caller(ctx)?.user.role {
        Role::Admin => Ok(()),
        Role::User => Err(coded(
            ErrorCode::Forbidden,
            "only an administrator may do this",
        )),
    }
}

fn unauthenticated() -> Error {
    coded(
        ErrorCode::Unauthenticated,
        "sign in first: send a token as `Authorization: Bearer …`",
    )
}

/// An error about the request, with its code.
pub(crate) fn coded(code: ErrorCode, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code.as_str()))
}

/// A fault of ours: the caller gets an id, and the log has the rest under it.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Error {
    let id = Uuid::new_v4().simple().to_string();
    tracing::error!(error.id = %id, error, "a request failed");
    coded(
        ErrorCode::Internal,
        format!("something went wrong on our side; the log has more under {id}"),
    )
    .extend_with(|_, extensions| extensions.set("id", id.as_str()))
}

/// An error of the database.
pub(crate) fn database(error: &wharfinger_jobs::db::DbErr) -> Error {
    internal(error)
}

/// An error of a list.
pub(crate) fn list(error: ListError) -> Error {
    match error {
        ListError::Page(error) => coded(ErrorCode::BadRequest, error.to_string()),
        ListError::Database(error) => internal(&error),
    }
}

/// Separates what the caller can mend from what they cannot.
pub(crate) fn mendable<T>(result: Result<T, ServiceError>) -> Result<Result<T, UserError>, Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ServiceError::Rejected(error)) => Ok(Err(error)),
        Err(error) => Err(internal(&error)),
    }
}

//! What resolvers find in their context: the services, who is calling, and the loaders of the request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, Error, ErrorExtensions as _};
use futures::future::BoxFuture;
use uuid::Uuid;
use wharfinger_entity::{Role, api_token, user};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::error::{self, ServiceError, UserError};
use wharfinger_jobs::infra::db::{Db, DbErr, is_unavailable, timed_out};
use wharfinger_jobs::infra::password_hashing::PasswordError;
use wharfinger_jobs::ledger::LedgerError;
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::page::ListError;
use wharfinger_jobs::queries::progress_watch::Watches;
use wharfinger_jobs::services::Services;

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
    /// The token that they called with.
    pub(crate) token: api_token::Model,
    /// Whether it was in the console's cookie.
    pub(crate) by_cookie: bool,
    /// W3C trace context that came with the request.
    pub(crate) traceparent: Option<String>,
}

/// What is known of the browser that a request over HTTP may be from. A WebSocket has none: it cannot set a cookie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Browser {
    /// No other site's page sent it.
    pub(crate) own_page: bool,
    /// The page was loaded over TLS.
    pub(crate) over_tls: bool,
}

/// How long no resolver may have asked for anything before what was asked for is read.
const QUIET: Duration = Duration::from_millis(1);

/// Loaders for one request, which answer only what its caller may see. Made when the first is asked for: a page of a list
/// brings most of what is asked for with it.
pub(crate) struct Loaders {
    db: Db,
    viewer: Viewer,
    loader: OnceLock<DataLoader<Loader>>,
    /// Grows with everything that resolvers ask for.
    asked: Arc<AtomicUsize>,
}

impl Loaders {
    /// Loaders for one caller.
    pub(crate) fn new(services: &Services, caller: &Caller) -> Self {
        Self {
            db: services.db.clone(),
            viewer: Viewer::from(&caller.user),
            loader: OnceLock::new(),
            asked: Arc::default(),
        }
    }

    fn loader(&self) -> &DataLoader<Loader> {
        self.loader.get_or_init(|| self.make())
    }

    fn make(&self) -> DataLoader<Loader> {
        let count = Arc::clone(&self.asked);
        // A fixed delay would read a long list in as many statements as resolving it takes delays: wait until the
        // resolvers of a level have all asked.
        let spawn = move |read: BoxFuture<'static, ()>| {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut seen = count.load(Ordering::Relaxed);
                loop {
                    tokio::time::sleep(QUIET).await;
                    let now = count.load(Ordering::Relaxed);
                    if now == seen {
                        break;
                    }
                    seen = now;
                }
                read.await;
            })
        };
        let loader = Loader::new(self.db.clone(), self.viewer);
        DataLoader::new(loader, spawn).delay(Duration::ZERO)
    }
}

/// The services.
pub(crate) fn services<'c>(ctx: &Context<'c>) -> &'c Services {
    &ctx.data_unchecked::<Gateway>().services
}

/// The loaders of this request; nobody has any without being signed in. To be called for each thing that is loaded.
pub(crate) fn loaders<'c>(ctx: &Context<'c>) -> Result<&'c DataLoader<Loader>, Error> {
    let loaders: &Loaders = ctx.data_opt().ok_or_else(unauthenticated)?;
    loaders.asked.fetch_add(1, Ordering::Relaxed);
    Ok(loaders.loader())
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

/// The administrator who is calling, as the audit log names them; an error unless one is.
pub(crate) fn actor(ctx: &Context<'_>) -> Result<Actor, Error> {
    administrator(ctx)?;
    Ok(Actor::from(&caller(ctx)?.user))
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

/// A fault of ours: the caller gets an id, and the log has the rest under it. What took too long is none.
pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Error {
    if error.downcast_ref().is_some_and(timed_out) {
        return coded(
            ErrorCode::LimitExceeded,
            "the database needed longer for this than limits.request_time: ask for less at once, or try again later",
        );
    }
    if error.downcast_ref().is_some_and(is_unavailable) {
        tracing::error!(error, "the database cannot be used: a request failed");
        return coded(
            ErrorCode::Unavailable,
            "the database cannot be used at the moment: try again later",
        );
    }
    let id = Uuid::new_v4().simple().to_string();
    tracing::error!(error.id = %id, error, "a request failed");
    coded(
        ErrorCode::Internal,
        format!("something went wrong on our side; the log has more under {id}"),
    )
    .extend_with(|_, extensions| extensions.set("id", id.as_str()))
}

/// An error of the database.
pub(crate) fn database(error: &DbErr) -> Error {
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
        Err(error) => Err(request_error(&error)),
    }
}

/// What is wrong with a request that no other input would mend.
fn request_error(error: &ServiceError) -> Error {
    match error {
        ServiceError::NotAllowed(_) => coded(ErrorCode::Forbidden, error.to_string()),
        ServiceError::Throttled(wait) => coded(ErrorCode::RateLimited, error.to_string())
            .extend_with(|_, extensions| extensions.set("retryAfter", error::seconds(*wait))),
        ServiceError::Password(PasswordError::Busy) => {
            coded(ErrorCode::Unavailable, error.to_string())
        }
        // Some mutations are several transactions, and a commit may have been what took too long.
        ServiceError::Database(error) if timed_out(error) => coded(
            ErrorCode::LimitExceeded,
            "the database needed longer for this than limits.request_time: it is not known whether it was done. Look before you send it again; with the same idempotencyKey it happens once",
        ),
        ServiceError::Database(error) | ServiceError::Ledger(LedgerError::Database(error))
            if is_unavailable(error) =>
        {
            tracing::error!(%error, "the database cannot be used: a request failed");
            coded(
                ErrorCode::Unavailable,
                "the database cannot be used at the moment: it is not known whether this was done. Look before you send it again; with the same idempotencyKey it happens once",
            )
        }
        ServiceError::Unavailable(message) => coded(ErrorCode::Unavailable, *message),
        error => internal(error),
    }
}

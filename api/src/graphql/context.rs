//! The data of the context that resolvers use: the services, the caller, and the loaders of the request.

use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, Error, ErrorExtensions as _};
use futures::future::BoxFuture;
use uuid::Uuid;
use wharfinger_entity::{Role, api_token, user};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::error::{self, ServiceError};
use wharfinger_jobs::infra::db::{DbErr, is_unavailable, timed_out};
use wharfinger_jobs::infra::password_hashing::PasswordError;
use wharfinger_jobs::ledger::LedgerError;
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::page::ListError;
use wharfinger_jobs::queries::progress_watch::Watches;
use wharfinger_jobs::services::Services;

use super::loaders::Loader;
use super::types::UserError;
use crate::http::ErrorCode;

/// The services of the schema.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) services: Services,
    pub(crate) watches: Watches,
}

/// The caller of a request, put into its data by the authenticator.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The user, as of the check of the token.
    pub(crate) user: user::Model,
    /// The token of the request.
    pub(crate) token: api_token::Model,
    /// Whether the token came in the console's cookie.
    pub(crate) by_cookie: bool,
    /// W3C trace context of the request.
    pub(crate) traceparent: Option<String>,
}

/// The browser that an HTTP request may be from. A WebSocket has none, because it cannot set a cookie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Browser {
    /// Whether no other site's page sent the request.
    pub(crate) own_page: bool,
    /// Whether the page was loaded over TLS.
    pub(crate) over_tls: bool,
}

/// How long resolvers must have asked for nothing more before the loaders read what they asked for.
const QUIET: Duration = Duration::from_millis(1);

/// Loaders of one request, which return only what its caller may see. They are made when a resolver first asks, because a
/// page of a list brings most related rows with it.
pub(crate) struct Loaders {
    reads: Loader,
    loader: OnceLock<DataLoader<Loader>>,
    /// Number of keys that resolvers have asked for.
    asked: Arc<AtomicUsize>,
}

impl Loaders {
    /// Loaders for one caller.
    pub(crate) fn new(services: &Services, caller: &Caller) -> Self {
        let (db, viewer) = (services.db.clone(), Viewer::from(&caller.user));
        Self {
            reads: Loader { db, viewer },
            loader: OnceLock::new(),
            asked: Arc::default(),
        }
    }

    fn loader(&self) -> &DataLoader<Loader> {
        self.loader.get_or_init(|| {
            let asked = Arc::clone(&self.asked);
            let spawn = move |read| tokio::spawn(read_when_quiet(Arc::clone(&asked), read));
            DataLoader::new(self.reads.clone(), spawn).delay(Duration::ZERO)
        })
    }
}

/// Reads when the resolvers of a level have all asked. After a fixed delay, a long list would be read in as many statements as
/// resolving it takes delays.
async fn read_when_quiet(asked: Arc<AtomicUsize>, read: BoxFuture<'static, ()>) {
    let mut seen = asked.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(QUIET).await;
        let now = asked.load(Ordering::Relaxed);
        if now == seen {
            break;
        }
        seen = now;
    }
    read.await;
}

/// Returns the services.
pub(crate) fn services<'c>(ctx: &Context<'c>) -> &'c Services {
    &ctx.data_unchecked::<Gateway>().services
}

/// Loads what a key names, in one statement with what the other resolvers of the level ask for; `None` without a key, and
/// for what the caller may not see. Fails with `UNAUTHENTICATED` for an anonymous caller.
pub(crate) async fn load<K, V>(ctx: &Context<'_>, key: Option<K>) -> Result<Option<V>, Error>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Loader: async_graphql::dataloader::Loader<K, Value = V, Error = Arc<DbErr>>,
{
    let loaders: &Loaders = ctx.data_opt().ok_or_else(unauthenticated)?;
    let Some(key) = key else {
        return Ok(None);
    };
    loaders.asked.fetch_add(1, Ordering::Relaxed);
    let loaded = loaders.loader().load_one(key).await;
    loaded.map_err(|error| internal(&*error))
}

/// Returns the caller. Fails with `UNAUTHENTICATED` for an anonymous one.
pub(crate) fn caller<'c>(ctx: &Context<'c>) -> Result<&'c Caller, Error> {
    ctx.data_opt().ok_or_else(unauthenticated)
}

/// Returns the caller as a viewer. Fails like [`caller`].
pub(crate) fn viewer(ctx: &Context<'_>) -> Result<Viewer, Error> {
    Ok(Viewer::from(&caller(ctx)?.user))
}

/// Fails with `FORBIDDEN` unless the caller is an administrator.
pub(crate) fn administrator(ctx: &Context<'_>) -> Result<(), Error> {
    match caller(ctx)?.user.role {
        Role::Admin => Ok(()),
        Role::User => Err(coded(
            ErrorCode::Forbidden,
            "only an administrator may do this",
        )),
    }
}

/// Returns the calling administrator as the audit log names them. Fails like [`administrator`].
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

/// Returns an error about the request, with its code.
pub(crate) fn coded(code: ErrorCode, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code))
}

/// Returns the error of a fault of the program: the caller gets an id, under which the log has the cause. A statement that
/// took too long is `LIMIT_EXCEEDED` instead.
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

/// Returns the error of a list.
pub(crate) fn list(error: ListError) -> Error {
    match error {
        ListError::Page(error) => coded(ErrorCode::BadRequest, error.to_string()),
        ListError::Database(error) => internal(&error),
    }
}

/// Returns what a mutation's payload has: the value, or problems that the caller can fix. Fails for all other errors.
pub(crate) fn outcome<T, U: From<T>>(
    result: Result<T, ServiceError>,
) -> Result<(Option<U>, Vec<UserError>), Error> {
    match result {
        Ok(value) => Ok((Some(value.into()), Vec::new())),
        Err(ServiceError::Rejected(error)) => Ok((None, vec![error.into()])),
        Err(error) => Err(request_error(&error)),
    }
}

/// Returns the problems that the caller can fix; none on success. Fails for all other errors.
pub(crate) fn problems(result: Result<(), ServiceError>) -> Result<Vec<UserError>, Error> {
    let (_, problems) = outcome::<(), ()>(result)?;
    Ok(problems)
}

/// Returns the error of a request that no other input would fix.
fn request_error(error: &ServiceError) -> Error {
    match error {
        ServiceError::NotAllowed(_) => coded(ErrorCode::Forbidden, error.to_string()),
        ServiceError::Throttled(wait) => coded(ErrorCode::RateLimited, error.to_string())
            .extend_with(|_, extensions| extensions.set("retryAfter", error::seconds(*wait))),
        ServiceError::Password(PasswordError::Busy) => {
            coded(ErrorCode::Unavailable, error.to_string())
        }
        // Some mutations have several transactions, and a commit may be what took too long.
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

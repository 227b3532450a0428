//! A toy schema behind the real transport on a real socket, for the tests of `wharfinger::http`.
#![expect(
    clippy::unused_async,
    reason = "async-graphql makes resolvers of async functions only"
)]

use std::any::TypeId;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_graphql::{
    Context, Data, Error, ErrorExtensions, Object, Request, Schema, ServerError, SimpleObject,
    Subscription,
};
use axum::http::{header, request::Parts};
use figment::providers::Serialized;
use figment::value::Dict;
use futures::{Stream, StreamExt, stream};
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use wharfinger::config::Config;
use wharfinger::http::{
    Audience, Authenticator, CurrentEventId, ErrorCode, Refusal, Session, TransportSettings,
    compress, playground, router,
};

/// Who the authenticator let in.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) String);

pub(crate) struct Query;

#[Object]
impl Query {
    async fn hello(
        &self,
        #[graphql(default_with = "String::from(\"world\")")] name: String,
    ) -> String {
        format!("hello {name}")
    }
    async fn caller(&self, context: &Context<'_>) -> Option<String> {
        context.data_opt::<Caller>().map(|caller| caller.0.clone())
    }
    async fn broken(&self) -> Result<i32, Error> {
        Err(Error::new("it broke").extend_with(|_, error| error.set("code", "INTERNAL")))
    }
}

pub(crate) struct Mutation;

#[Object]
impl Mutation {
    async fn increment(&self, by: i32) -> i32 {
        by + 1
    }
}

#[derive(SimpleObject)]
pub(crate) struct Padded {
    number: i32,
    padding: String,
}

pub(crate) struct Subscriptions;

#[Subscription]
impl Subscriptions {
    async fn count(&self, to: i32) -> impl Stream<Item = i32> {
        stream::iter(0..to)
    }
    async fn silence(&self) -> impl Stream<Item = i32> {
        stream::pending()
    }
    /// One kilobyte after the other for ever; the counter says how many were taken.
    async fn flood(&self, context: &Context<'_>) -> impl Stream<Item = String> {
        let taken = context.data_unchecked::<Toy>().flooded.clone();
        stream::repeat_with(move || {
            taken.fetch_add(1, Ordering::SeqCst);
            "x".repeat(1024)
        })
    }
    /// Numbers with a long text and who began to watch, from the toy's hand; shared by all whom the authenticator takes for one.
    async fn ticks(&self, context: &Context<'_>) -> impl Stream<Item = Tick> {
        let toy = context.data_unchecked::<Toy>();
        toy.watched.fetch_add(1, Ordering::SeqCst);
        let viewer = context.data_opt::<Caller>();
        let viewer = viewer.map(|caller| caller.0.clone()).unwrap_or_default();
        let ids: Option<CurrentEventId> = context.data_opt().cloned();
        let mut numbers = toy.ticks.subscribe();
        numbers.mark_changed();
        WatchStream::new(numbers).map(move |number| {
            if let Some(ids) = &ids {
                ids.note(number.try_into().unwrap(), false);
            }
            Tick {
                number,
                viewer: viewer.clone(),
                text: "x".repeat(1 << 16),
            }
        })
    }
    /// From 1 on.
    async fn numbered(&self, context: &Context<'_>, to: i32) -> impl Stream<Item = i32> {
        let ids: Option<CurrentEventId> = context.data_opt().cloned();
        stream::iter(1..=to).inspect(move |number| {
            if let Some(ids) = &ids {
                ids.note(*number, *number == to);
            }
        })
    }
    /// The number that the test has set last, and then each one that it sets; the counter says how many were taken.
    async fn newest(&self, context: &Context<'_>) -> impl Stream<Item = Padded> {
        let toy = context.data_unchecked::<Toy>();
        let numbers = WatchStream::new(toy.newest.subscribe());
        let taken = toy.flooded.clone();
        numbers.map(move |number| {
            taken.fetch_add(1, Ordering::SeqCst);
            let padding = "x".repeat(16 * 1024);
            Padded { number, padding }
        })
    }
    /// Numbers for ever, always ready. While it makes 3, the session ends, gets fewer rights, or the server stops.
    async fn ending(&self, context: &Context<'_>, by: String) -> impl Stream<Item = i32> {
        let toy = context.data_unchecked::<Toy>();
        let end = match by.as_str() {
            "revoked" => toy.revoked.clone(),
            "demoted" => toy.demoted.clone(),
            _ => toy.shutdown.clone(),
        };
        stream::iter(0..).inspect(move |number| {
            if *number == 3 {
                end.cancel();
            }
        })
    }
    async fn forbidden(&self) -> Result<stream::Empty<i32>, Error> {
        Err(Error::new("not yours").extend_with(|_, error| error.set("code", "FORBIDDEN")))
    }
    async fn until_released(&self, context: &Context<'_>) -> impl Stream<Item = i32> {
        let release = context.data_unchecked::<Toy>().release.clone();
        stream::once(async move {
            release.notified().await;
            1
        })
        .chain(stream::pending())
    }
}

#[derive(SimpleObject)]
pub(crate) struct Tick {
    number: u32,
    viewer: String,
    text: String,
}

/// What the tests steer the toy with, and its authenticator.
#[derive(Clone, Default)]
pub(crate) struct Toy {
    /// What `ticks` tells.
    pub(crate) ticks: Arc<watch::Sender<u32>>,
    /// How often it began.
    pub(crate) watched: Arc<AtomicUsize>,
    pub(crate) release: Arc<Notify>,
    pub(crate) flooded: Arc<AtomicUsize>,
    pub(crate) newest: watch::Sender<i32>,
    /// Ends every session.
    pub(crate) revoked: CancellationToken,
    /// Says that every session may do less than before.
    pub(crate) demoted: CancellationToken,
    pub(crate) shutdown: CancellationToken,
    /// How often the authenticator was asked who is calling.
    pub(crate) looked_up: Arc<AtomicUsize>,
}

fn caller(authorization: Option<&str>) -> Result<Data, Refusal> {
    let mut data = Data::default();
    match authorization.map(|value| value.strip_prefix("Bearer ").unwrap_or(value)) {
        None | Some("") => {}
        Some("crowded") => {
            return Err(Refusal::new(ErrorCode::LimitExceeded, "too many sockets"));
        }
        Some("busy") => {
            return Err(Refusal::new(ErrorCode::RateLimited, "too many requests")
                .retry_after(Duration::from_millis(1500)));
        }
        Some(token) if token.starts_with("user-") => data.insert(Caller(token.to_owned())),
        Some(_) => return Err(Refusal::new(ErrorCode::Unauthenticated, "a bad token")),
    }
    Ok(data)
}

impl Authenticator for Toy {
    async fn request(&self, parts: &Parts) -> Result<Data, Refusal> {
        let value = parts.headers.get(header::AUTHORIZATION);
        caller(value.and_then(|value| value.to_str().ok()))
    }

    /// A document that says so is over the toy's only limit.
    fn document(&self, request: &mut Request) -> Result<(), ServerError> {
        if request.query.contains("tooMuch") {
            let mut error = ServerError::new("too much", None);
            let extensions = error.extensions.get_or_insert_default();
            extensions.set("code", "LIMIT_EXCEEDED");
            return Err(error);
        }
        Ok(())
    }

    async fn caller(&self, _: &Parts, data: Data) -> Result<Data, Refusal> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        Ok(data)
    }

    async fn stream(&self, _: &Parts, data: Data) -> Result<(Session, Data), Refusal> {
        let session = Session {
            ended: self.revoked.clone(),
            ..Session::default()
        };
        Ok((session, data))
    }

    async fn connection(
        &self,
        _: &Parts,
        payload: &Map<String, Value>,
    ) -> Result<Session, Refusal> {
        let data = caller(payload.get("authorization").and_then(Value::as_str))?;
        Ok(Session {
            data,
            ended: self.revoked.clone(),
            outdated: self.demoted.clone(),
        })
    }

    async fn operation(&self, session: &Arc<Data>, request: Request) -> Result<Request, Refusal> {
        self.looked_up.fetch_add(1, Ordering::SeqCst);
        if request.operation_name.as_deref() == Some("Refused") {
            return Err(Refusal::new(ErrorCode::RateLimited, "too many operations"));
        }
        let caller = session.get(&TypeId::of::<Caller>());
        let caller = caller.and_then(|caller| caller.downcast_ref::<Caller>());
        Ok(match caller {
            Some(caller) => request.data(caller.clone()),
            None => request,
        })
    }

    fn audience(&self, request: &mut Request) -> Option<Audience> {
        let caller = request.data.get(&TypeId::of::<Caller>());
        let caller = caller.and_then(|caller| caller.downcast_ref::<Caller>());
        request.query.contains("ticks").then(|| Audience {
            members: caller.map(|caller| caller.0.clone()).unwrap_or_default(),
            fresh: None,
        })
    }
}

/// The defaults with short limits, so that no test waits for one.
pub(crate) fn settings() -> TransportSettings {
    let no_flags = Serialized::defaults(Dict::new());
    let config = Config::from_sources(None, [], &no_flags).unwrap();
    TransportSettings {
        max_body: 4096,
        max_operations: 3,
        ..config.transport()
    }
}

/// Serves until the test's runtime ends.
pub(crate) async fn serve(toy: &Toy, settings: TransportSettings) -> SocketAddr {
    let schema = Schema::build(Query, Mutation, Subscriptions)
        .data(toy.clone())
        .finish();
    let gateway = router(schema, toy.clone(), settings, toy.shutdown.clone());
    let app = compress(gateway, 1024).merge(playground());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Serves, and returns the URL of the endpoint.
pub(crate) async fn serve_at(toy: &Toy, settings: TransportSettings) -> String {
    format!("http://{}/graphql", serve(toy, settings).await)
}

/// Waits until something is so that no event tells.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let held = timeout(Duration::from_mins(1), held).await;
    held.unwrap_or_else(|_| panic!("not in time: {what}"));
}

//! GraphQL over HTTP, server-sent events and WebSocket, for any async-graphql executor.
//!
//! A request to `/graphql` passes [`router`], then either `graphql_http` (POST, and GET for queries; `graphql_sse` where
//! the client wants events) or `graphql_ws` (`graphql-transport-ws`). All ask the [`Gate`] who is calling before they
//! execute anything; it is the only part that knows about users and tokens. `preflight` keeps other sites' forms out,
//! `persisted` finds documents by their hash, `documents` parses what clients ask for, and keeps it. What many connections
//! subscribe to alike runs once (`sharing`) and is encoded once (`payload`). `playground` serves `GraphiQL`, `headers`
//! protects pages.

mod accept;
mod answer;
mod batch;
mod body;
mod compress;
mod cors;
mod documents;
mod error;
mod etag;
mod event_id;
mod frames;
mod gate;
mod graphql_http;
mod graphql_sse;
mod graphql_ws;
mod headers;
mod object;
mod operations;
mod parameters;
mod payload;
mod persisted;
mod playground;
mod preflight;
pub(crate) mod probe;
mod quota;
mod rejection;
mod sharing;
pub(crate) mod spans;
mod texts;
mod tokens;
mod trusted;
mod ws_protocol;

use std::{sync::Arc, time::Duration};

use async_graphql::{Data, Executor, parser::types::OperationType};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    response::Response,
    routing::any,
};
use futures::stream::{BoxStream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

pub(crate) use self::graphql_http::{chosen, operation_type, subscribed_field};
use self::persisted::Persisted;
pub use self::{
    answer::AnswerBudget,
    compress::compress,
    cors::AllowedOrigins,
    documents::ValidateOnce,
    error::{ErrorCode, Refusal},
    etag::tagged,
    event_id::CurrentEventId,
    gate::{Gate, Session, data_of, same_origin},
    headers::{CONTENT_SECURITY_POLICY, SecurityHeaders},
    playground::playground,
    quota::{Quota, QuotaLeft},
    sharing::Audience,
    texts::WithoutNul,
    trusted::{ManifestError, TrustedDocuments},
};
use self::{
    answer::WithinBytes, event_id::Event, rejection::Rejection, sharing::Executions, spans::InSpan,
};

/// Bytes of memory that the longer bodies of all callers that are not known yet may take together.
const ROOM_FOR_STRANGERS: usize = 64 << 20;

/// How much one client may ask of the transport. [`Default`] holds the values of `default.toml`.
#[derive(Debug, Clone)]
pub struct TransportSettings {
    /// Longest request body and longest WebSocket message, in bytes.
    pub max_body: usize,
    /// Most tokens of a document; 0 is any number.
    pub max_tokens: usize,
    /// Longest answer in bytes; 0 is any length.
    pub max_answer: usize,
    /// Frames that one WebSocket may send in a second beside the operations that it begins; 0 is any number.
    pub frames_per_second: u32,
    /// Operations that may run at once on one WebSocket.
    pub max_operations: usize,
    /// How long a fresh WebSocket may stay without its `connection_init`.
    pub init_timeout: Duration,
    /// Time between two pings; a peer that stays silent through two of them is gone.
    pub keep_alive: Duration,
    /// How long one message may wait for a client that does not read.
    pub send_timeout: Duration,
    /// Other sites whose pages may use the API.
    pub origins: AllowedOrigins,
    /// Time between two signs of life on a stream of events that has nothing to say.
    pub sse_keep_alive: Duration,
    /// Requests in one batch; 0 takes none.
    pub max_batch: usize,
    /// Documents that are kept for clients that name them by their hash; 0 keeps none.
    pub persisted_entries: usize,
    /// Bytes of these documents in all.
    pub persisted_bytes: usize,
    /// The only documents that are executed, if there is a list of them.
    pub trusted: Option<Arc<TrustedDocuments>>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            max_tokens: 5000,
            max_answer: 16 << 20,
            frames_per_second: 50,
            max_operations: 100,
            init_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(20),
            send_timeout: Duration::from_secs(30),
            origins: AllowedOrigins::default(),
            sse_keep_alive: Duration::from_secs(15),
            max_batch: 0,
            persisted_entries: 1000,
            persisted_bytes: 4 << 20,
            trusted: None,
        }
    }
}

/// What every request needs: the schema, the gate in front of it, the limits, and the sign to stop.
struct Transport<E, G> {
    executor: WithinBytes<E>,
    gate: G,
    documents: documents::Documents,
    persisted: Persisted,
    settings: TransportSettings,
    shutdown: CancellationToken,
    /// Room for longer bodies of callers that are not known yet.
    room: body::Room,
    /// Subscriptions that several connections have in common.
    executions: Executions,
}

impl<E: Executor, G: Gate> Transport<E, G> {
    /// Looks at a request's document as far as that needs no caller: its tokens, its syntax, its size. What is refused here
    /// has cost this look and nothing else. A document that was sent with its hash is kept from here on.
    fn prepare(
        &self,
        request: &mut async_graphql::Request,
    ) -> Result<Option<OperationType>, Rejection> {
        tokens::check(&request.query, self.settings.max_tokens)
            .map_err(|refusal| Rejection::Document(refusal.into_error()))?;
        let document = self.documents.parse(request).map_err(Rejection::Document)?;
        self.gate.document(request).map_err(Rejection::Document)?;
        self.documents.keep(&request.query, &document);
        self.persisted.keep(request, &document);
        let name = request.operation_name.as_deref();
        Ok(operation_type(document.tree(), name))
    }

    /// The encoded responses of an operation that was let in. One that others run already is joined, whatever they came by;
    /// the span is for one that is begun here.
    fn responses(
        &self,
        mut request: async_graphql::Request,
        session: Option<Arc<Data>>,
        span: &Span,
    ) -> BoxStream<'static, Event> {
        let audience = self.gate.audience(&mut request);
        let id = CurrentEventId::of(&mut request);
        if let Some(id) = &id {
            request = request.data(id.clone());
        }
        let executor = self.executor.clone();
        let most = self.settings.max_answer;
        let execute = move |request, session| {
            let responses = executor.execute_stream(request, session);
            responses.map(move |response| Event::of(response, id.as_ref(), most))
        };
        match audience {
            // Without the session: it ends with its connection, and the execution may last longer.
            Some(audience) => self
                .executions
                .join(&audience, request, |request| {
                    InSpan::over(execute(request, None).boxed(), span.clone())
                })
                .boxed(),
            None => execute(request, session).boxed(),
        }
    }
}

/// The routes of the GraphQL endpoint: `/graphql` and nothing else.
///
/// Cancelling `shutdown` closes every WebSocket with 1001 and ends every stream of events; other HTTP requests are left
/// to the server's own drain.
pub fn router<E: Executor, G: Gate>(
    executor: E,
    gate: G,
    settings: TransportSettings,
    shutdown: CancellationToken,
) -> Router {
    let cors = settings.origins.layer();
    let transport = Arc::new(Transport {
        executor: WithinBytes {
            executor,
            most: settings.max_answer,
        },
        gate,
        documents: documents::Documents::default(),
        persisted: Persisted::new(
            settings.trusted.clone(),
            settings.persisted_entries,
            settings.persisted_bytes,
        ),
        settings,
        shutdown,
        room: body::Room::new(ROOM_FOR_STRANGERS),
        executions: Executions::default(),
    });
    let routes = Router::new().route("/graphql", any(endpoint::<E, G>));
    match cors {
        Some(cors) => routes.route_layer(cors),
        None => routes,
    }
    .with_state(transport)
}

async fn endpoint<E: Executor, G: Gate>(
    State(transport): State<Arc<Transport<E, G>>>,
    request: Request,
) -> Response {
    if request.method() == Method::GET && asks_for_websocket(request.headers()) {
        graphql_ws::upgrade(transport, request.into_parts().0).await
    } else {
        let span = spans::request(request.method(), request.headers());
        let answering = graphql_http::answer(&transport, request);
        let answer = answering.instrument(span.clone()).await;
        spans::answered(&span, answer.status());
        answer
    }
}

/// Whether the client wants a WebSocket. Other protocols it may offer with any request, and is answered in HTTP as if it had
/// not (RFC 9110, 7.8): `curl --http2` and Java's client offer `h2c`.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let mut offered = headers.get_all(header::UPGRADE).iter();
    offered.any(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

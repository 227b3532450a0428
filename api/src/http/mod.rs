//! GraphQL over HTTP, server-sent events and WebSocket, for any async-graphql executor.
//!
//! A request to `/graphql` enters at [`router`]. `operation` answers POST, GET and streams of events, `websocket` speaks
//! `graphql-transport-ws`. Before both execute a request they ask the [`Authenticator`] who is calling, the only part that knows
//! users and tokens. On the way, `request` negotiates the response's type, keeps other sites' forms out and reads the
//! parameters; `document` finds the document by its hash, checks its length and parses it. A subscription of many
//! connections is executed once (`operation::sharing`). `response` encodes, bounds and compresses what goes back.
//! `playground` serves `GraphiQL`.

mod authenticator;
pub(crate) mod cookie;
pub mod document;
pub mod operation;
mod playground;
mod rejection;
pub mod request;
pub mod response;
pub(crate) mod spans;
mod transport;
pub mod websocket;

use std::sync::Arc;

use async_graphql::Executor;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, header},
    response::Response,
    routing::any,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use self::authenticator::{Audience, Authenticator, Session, data_of, same_origin};
pub(crate) use self::document::selected::{chosen, subscribed_field};
pub use self::document::trusted::{ManifestError, TrustedDocuments};
pub use self::operation::event_id::CurrentEventId;
pub use self::playground::playground;
pub use self::response::cors::AllowedOrigins;
pub use self::response::error::{ErrorCode, Refusal};
pub use self::response::etag::tagged;
pub use self::response::headers::{ANSWER_HEADERS, PAGE_HEADERS, compress};
pub(crate) use self::response::quota::seconds as retry_after_seconds;
pub use self::response::quota::{Quota, QuotaLeft};
pub use self::response::size_limit::AnswerBudget;
use self::transport::Transport;
pub use self::transport::TransportSettings;

/// Returns the routes of the GraphQL endpoint: `/graphql` and nothing else.
///
/// Cancelling `shutdown` closes every WebSocket with 1001 and ends every stream of events. Other HTTP requests end with the
/// server's own drain.
pub fn router<E: Executor, A: Authenticator>(
    executor: E,
    authenticator: A,
    settings: TransportSettings,
    shutdown: CancellationToken,
) -> Router {
    let cors = settings.origins.layer();
    let transport = Arc::new(Transport::new(executor, authenticator, settings, shutdown));
    let routes = Router::new().route("/graphql", any(endpoint::<E, A>));
    match cors {
        Some(cors) => routes.route_layer(cors),
        None => routes,
    }
    .with_state(transport)
}

async fn endpoint<E: Executor, A: Authenticator>(
    State(transport): State<Arc<Transport<E, A>>>,
    request: Request,
) -> Response {
    if request.method() == Method::GET && asks_for_websocket(request.headers()) {
        websocket::opening::upgrade(transport, request.into_parts().0).await
    } else {
        let span = spans::request(request.method(), request.headers());
        let answering = operation::post_get::answer(&transport, request);
        let answer = answering.instrument(span.clone()).await;
        spans::answered(&span, answer.status());
        answer
    }
}

/// Returns whether the client wants a WebSocket. A client may offer other protocols with any request, and is answered in
/// plain HTTP (RFC 9110, 7.8): `curl --http2` and Java's client offer `h2c`.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let mut offered = headers.get_all(header::UPGRADE).iter();
    offered.any(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

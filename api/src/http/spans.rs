//! Spans of requests and operations, which begin a trace or continue the caller's.

use async_graphql::{Request, Value};
use axum::http::{HeaderMap, Method};
use futures::stream::{self, BoxStream, StreamExt as _};
use tracing::field::Empty;
use tracing::{Span, debug_span};
use wharfinger_jobs::infra::trace::TraceContext;

use super::document::selected::operation_type;

/// Longest operation name in a span, in characters: clients choose it.
const MAX_NAME: usize = 100;

/// Returns the caller's trace context. Several headers count as none (W3C Trace Context, 3.2).
pub(crate) fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    TraceContext::parse(value.to_str().ok()?)
}

/// Returns the span of an HTTP request to the endpoint, by OpenTelemetry's conventions for HTTP servers.
pub(super) fn request(method: &Method, headers: &HeaderMap) -> Span {
    let (name, method) = match method.as_str() {
        "GET" => ("GET /graphql", "GET"),
        "HEAD" => ("HEAD /graphql", "HEAD"),
        "POST" => ("POST /graphql", "POST"),
        _ => ("HTTP /graphql", "_OTHER"),
    };
    let span = debug_span!(
        parent: None,
        "request",
        otel.name = name,
        otel.kind = "server",
        http.request.method = method,
        http.route = "/graphql",
        url.path = "/graphql",
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    if let Some(place) = caller(headers) {
        place.adopt(&span);
    }
    span
}

/// Notes the response's status on the span of its request.
pub(super) fn answered(span: &Span, status: axum::http::StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Returns the span of an operation of the current request. It has no inputs, which may be secrets.
pub(super) fn operation(request: &mut Request) -> Span {
    let span = debug_span!(
        "operation",
        otel.name = Empty,
        graphql.operation.type = Empty,
        graphql.operation.name = Empty,
    );
    describe(&span, request);
    span
}

/// Returns the span of an operation on a WebSocket, which lasts as long as the operation. `parent` is the trace context of
/// the request that opened the socket; a client may send another one with each operation, as `extensions.traceparent`.
pub(super) fn socket_operation(request: &mut Request, parent: Option<&TraceContext>) -> Span {
    let span = debug_span!(
        parent: None,
        "operation",
        otel.name = Empty,
        otel.kind = "server",
        network.protocol.name = "websocket",
        graphql.operation.type = Empty,
        graphql.operation.name = Empty,
    );
    let sent = match request.extensions.0.get("traceparent") {
        Some(Value::String(text)) => TraceContext::parse(text),
        _ => None,
    };
    if let Some(place) = sent.or_else(|| parent.cloned()) {
        place.adopt(&span);
        request.data.insert(place);
    }
    describe(&span, request);
    span
}

fn describe(span: &Span, request: &mut Request) {
    if span.is_disabled() {
        return;
    }
    let mut name = request.operation_name.clone();
    let mut kind = None;
    // The executor reports a document that cannot be parsed.
    if let Ok(document) = request.parsed_query() {
        kind = operation_type(document, name.as_deref()).map(|kind| kind.to_string());
        if name.is_none() && kind.is_some() {
            let only = document.operations.iter().next();
            name = only.and_then(|(name, _)| name.map(ToString::to_string));
        }
    }
    let kind = kind.as_deref().unwrap_or("graphql");
    span.record("otel.name", kind);
    span.record("graphql.operation.type", kind);
    if let Some(name) = &name {
        let end = name.floor_char_boundary(MAX_NAME);
        span.record("graphql.operation.name", &name[..end]);
    }
}

/// Returns a stream that is polled inside a span: the stream itself where the span is disabled.
pub(super) fn in_span<T: 'static>(
    mut stream: BoxStream<'static, T>,
    span: Span,
) -> BoxStream<'static, T> {
    if span.is_disabled() {
        return stream;
    }
    stream::poll_fn(move |cx| span.in_scope(|| stream.poll_next_unpin(cx))).boxed()
}

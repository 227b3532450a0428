//! GraphQL over server-sent events, "distinct connections mode" (the `PROTOCOL.md` of the npm package graphql-sse): one
//! request, one operation, one stream of `next` events and a `complete`.
//!
//! The stream has no queue. What is executed for it alone makes a result when the one before is on its way; of what it shares
//! with others only the newest is kept. A client that does not read stands still, and gets the newest state when it reads again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Data, Executor, Request, Response as GraphqlResponse, ServerError};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};
use futures::{Stream, StreamExt as _, future, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;

use super::event_id::{Event, EventId};
use crate::http::authenticator::{Authenticator, Session};
use crate::http::response::encode::private;
use crate::http::response::error::{ErrorCode, Refusal};
use crate::http::spans::{self, in_span};
use crate::http::transport::Transport;
use crate::observability::metrics::Open;

/// Answers with the results as events. A query or mutation is executed before the answer begins, so that it can set
/// headers, and so that a client that leaves at once stops nothing half-way that it could see.
pub(crate) async fn answer<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    parts: &Parts,
    mut request: Request,
    subscribes: bool,
) -> Result<Response, Refusal> {
    if subscribes {
        let data = std::mem::take(&mut request.data);
        let (session, data) = transport.authenticator.stream(parts, data).await?;
        request.data = data;
        let live = subscribe(transport, parts, request, session);
        return Ok(stream_of(live, HeaderMap::new()));
    }
    let mut response = transport.execute(request).await;
    let headers = std::mem::take(&mut response.http_headers);
    Ok(stream_of(Live::of(response, transport), headers))
}

/// Answers with the errors of a document that is not executed, as an event.
pub(crate) fn refuse<E, A>(transport: &Transport<E, A>, errors: Vec<ServerError>) -> Response {
    let live = Live::of(GraphqlResponse::from_errors(errors), transport);
    stream_of(live, HeaderMap::new())
}

fn stream_of(live: Live, headers: HeaderMap) -> Response {
    let events = live.events().map(Ok::<_, Infallible>);
    let mut answer = Response::new(Body::from_stream(events));
    let own = answer.headers_mut();
    own.extend(headers);
    let media = HeaderValue::from_static("text/event-stream; charset=utf-8");
    own.insert(header::CONTENT_TYPE, media);
    private(own);
    // nginx collects a proxied answer before it passes it on, unless it is told not to.
    own.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

fn subscribe<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    parts: &Parts,
    mut request: Request,
    session: Session,
) -> Live {
    let span = spans::operation(&mut request);
    let data = Arc::new(session.data);
    let events = transport.responses(request, Some(Arc::clone(&data)), &span);
    let seen = EventId::last_seen(&parts.headers);
    let news = events.filter(move |event| {
        future::ready(event.id.zip(seen).is_none_or(|(id, seen)| id.is_news(seen)))
    });
    Live {
        ended: session.ended,
        outdated: session.outdated,
        _session: Some(data),
        ..Live::over(in_span(news.boxed(), span), transport)
    }
}

/// A comment: it shows the client, and every proxy on the way, that the stream is open.
const SIGN_OF_LIFE: &str = ":\n\n";

/// With an empty `data`, or browsers would not tell of it. axum's own events leave that out.
const COMPLETE: &str = "event: complete\ndata: \n\n";

/// A stream that has not come to its end.
struct Live {
    responses: BoxStream<'static, Event>,
    shutdown: CancellationToken,
    ended: CancellationToken,
    outdated: CancellationToken,
    keep_alive: Duration,
    _session: Option<Arc<Data>>,
    _open: Open,
}

impl Live {
    fn of<E, A>(response: GraphqlResponse, transport: &Transport<E, A>) -> Self {
        let event = Event::of(response, None, transport.settings.max_answer);
        let only = stream::once(future::ready(event));
        Self::over(only.boxed(), transport)
    }

    fn over<E, A>(responses: BoxStream<'static, Event>, transport: &Transport<E, A>) -> Self {
        Self {
            responses,
            shutdown: transport.shutdown.clone(),
            ended: CancellationToken::new(),
            outdated: CancellationToken::new(),
            keep_alive: transport.settings.sse_keep_alive,
            _session: None,
            _open: Open::new("wharfinger_sse_streams"),
        }
    }

    fn events(self) -> impl Stream<Item = String> + Send + 'static {
        let begin = stream::once(future::ready(SIGN_OF_LIFE.to_owned()));
        let rest = stream::unfold(Some(Box::new(self)), |live| async { live?.step().await });
        begin.chain(rest)
    }

    /// Returns the next text to send, and the stream unless that was its end. A client whose token is good for nothing any more
    /// is told so; one that may come back (to another gateway, or with the rights that it has now) finds the stream broken and
    /// does, where its last event was.
    async fn step(mut self: Box<Self>) -> Option<(String, Option<Box<Self>>)> {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => {
                let why = "the token of this stream was revoked or has expired: sign in again";
                let refusal = Refusal::new(ErrorCode::Unauthenticated, why);
                Some((next(&refusal.into_response().into()) + COMPLETE, None))
            }
            () = self.outdated.cancelled() => None,
            () = self.shutdown.cancelled() => None,
            response = self.responses.next() => Some(match response {
                Some(event) => (next(&event), Some(self)),
                None => (COMPLETE.to_owned(), None),
            }),
            () = tokio::time::sleep(self.keep_alive) => Some((SIGN_OF_LIFE.to_owned(), Some(self))),
        }
    }
}

fn next(event: &Event) -> String {
    // JSON has no line breaks of its own, so it is one line of data.
    let data = event.payload.response_text();
    match event.id {
        Some(EventId { number, .. }) => format!("event: next\nid: {number}\ndata: {data}\n\n"),
        None => format!("event: next\ndata: {data}\n\n"),
    }
}

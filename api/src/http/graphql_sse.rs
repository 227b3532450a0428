//! GraphQL over server-sent events, "distinct connections mode" (the `PROTOCOL.md` of the npm package graphql-sse): one
//! request, one operation, one stream of `next` events and a `complete`.
//!
//! The stream has no queue: a result is made when the one before is on its way, so a client that does not read stands
//! still, and gets the newest state when it reads again.

use std::convert::Infallible;
use std::time::Duration;

use async_graphql::{
    Executor, Request, Response as GraphqlResponse, ServerError,
    parser::types::{ExecutableDocument, OperationType, Selection},
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::Response,
};
use futures::{Stream, StreamExt as _, future, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::measure::Open;

use super::{
    Transport,
    error::{ErrorCode, Refusal},
    event_id::EventId,
    gate::{Gate, Session},
    graphql_http::{chosen, encode, private},
    spans::{self, InSpan},
};

/// Answers with the results as events. A query or mutation is executed before the answer begins, so that it can set
/// headers, and so that a client that leaves at once stops nothing half-way that it could see.
pub(super) async fn answer<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
    parts: &Parts,
    mut request: Request,
    subscribes: bool,
) -> Result<Response, Refusal> {
    let mut headers = HeaderMap::new();
    let live = if subscribes {
        let session = transport
            .gate
            .stream(parts, std::mem::take(&mut request.data))
            .await?;
        subscribe(transport, parts, request, session)
    } else {
        let span = spans::operation(&mut request);
        let mut response = transport.executor.execute(request).instrument(span).await;
        headers = std::mem::take(&mut response.http_headers);
        Live::of(stream::once(future::ready(response)).boxed(), transport)
    };
    Ok(stream_of(live, headers))
}

fn stream_of(live: Live, headers: HeaderMap) -> Response {
    let events = live.events().map(Ok::<_, Infallible>);
    let mut answer = Response::new(Body::from_stream(events));
    let own = answer.headers_mut();
    own.extend(headers);
    own.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    private(own);
    // nginx collects a proxied answer before it passes it on, unless it is told not to.
    own.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// Answers with the error of a document that is not executed, as an event.
pub(super) fn refuse<E, G>(transport: &Transport<E, G>, error: ServerError) -> Response {
    let response = GraphqlResponse::from_errors(vec![error]);
    let live = Live::of(stream::once(future::ready(response)).boxed(), transport);
    stream_of(live, HeaderMap::new())
}

fn subscribe<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
    parts: &Parts,
    mut request: Request,
    session: Session,
) -> Live {
    let name = request.operation_name.clone();
    let document = request.parsed_query().ok();
    let numbered = document.is_some_and(|document| has_one_field(document, name.as_deref()));
    let id = numbered.then(|| EventId::of(&parts.headers));
    let span = spans::operation(&mut request);
    request.data = session.data;
    if let Some(id) = &id {
        request = request.data(id.clone());
    }
    let responses = transport.executor.execute_stream(request, None);
    Live {
        id,
        ended: session.ended,
        outdated: session.outdated,
        ..Live::of(InSpan::over(responses, span), transport)
    }
}

/// Whether all events of the operation are of one field, so that their numbers are of one sequence.
fn has_one_field(document: &ExecutableDocument, name: Option<&str>) -> bool {
    chosen(document, name).is_some_and(|operation| {
        let items = &operation.selection_set.node.items;
        operation.ty == OperationType::Subscription
            && matches!(items.as_slice(), [only] if matches!(only.node, Selection::Field(_)))
    })
}

/// A comment: it shows the client, and every proxy on the way, that the stream is open.
const SIGN_OF_LIFE: &str = ":\n\n";

/// With an empty `data`, or browsers would not tell of it. axum's own events leave that out.
const COMPLETE: &str = "event: complete\ndata: \n\n";

/// A stream that has not come to its end.
struct Live {
    responses: BoxStream<'static, GraphqlResponse>,
    id: Option<EventId>,
    shutdown: CancellationToken,
    ended: CancellationToken,
    outdated: CancellationToken,
    keep_alive: Duration,
    _open: Open,
}

/// What is still to be sent.
enum Rest {
    Live(Box<Live>),
    Complete,
    Nothing,
}

impl Live {
    fn of<E, G>(
        responses: BoxStream<'static, GraphqlResponse>,
        transport: &Transport<E, G>,
    ) -> Self {
        Self {
            responses,
            id: None,
            shutdown: transport.shutdown.clone(),
            ended: CancellationToken::new(),
            outdated: CancellationToken::new(),
            keep_alive: transport.settings.sse_keep_alive,
            _open: Open::new("wharfinger_sse_streams"),
        }
    }

    fn events(self) -> impl Stream<Item = String> + Send + 'static {
        let begin = stream::once(future::ready(SIGN_OF_LIFE.to_owned()));
        let rest = stream::unfold(Rest::Live(Box::new(self)), |rest| async move {
            match rest {
                Rest::Live(live) => live.step().await,
                Rest::Complete => Some((COMPLETE.to_owned(), Rest::Nothing)),
                Rest::Nothing => None,
            }
        });
        begin.chain(rest)
    }

    /// The next event. A client whose token is good for nothing any more is told so; one that may come back (to another
    /// gateway, or with the rights that it has now) finds the stream broken and does, where its last event was.
    async fn step(mut self: Box<Self>) -> Option<(String, Rest)> {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => {
                let why = "the token of this stream was revoked or has expired: sign in again";
                let refusal = Refusal::new(ErrorCode::Unauthenticated, why);
                Some((next(refusal.into_response(), None), Rest::Complete))
            }
            () = self.outdated.cancelled() => None,
            () = self.shutdown.cancelled() => None,
            response = self.responses.next() => match response {
                Some(response) => {
                    let number = self.id.as_ref().and_then(EventId::current);
                    Some((next(response, number), Rest::Live(self)))
                }
                None => Some((COMPLETE.to_owned(), Rest::Nothing)),
            },
            () = tokio::time::sleep(self.keep_alive) => {
                Some((SIGN_OF_LIFE.to_owned(), Rest::Live(self)))
            }
        }
    }
}

fn next(response: GraphqlResponse, number: Option<i32>) -> String {
    // JSON has no line breaks of its own, so it is one line of data.
    let data = String::from_utf8(encode(response)).expect("JSON is UTF-8");
    match number {
        Some(number) => format!("event: next\nid: {number}\ndata: {data}\n\n"),
        None => format!("event: next\ndata: {data}\n\n"),
    }
}

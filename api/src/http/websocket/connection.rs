//! An acknowledged WebSocket: one task per socket and no queue; see `operations` for how a slow reader is held back.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use async_graphql::{Data, Executor, Request, ServerError};
use axum::extract::ws::{Message, WebSocket};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, future, stream};
use tokio::time::{Instant, Interval, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use wharfinger_jobs::infra::trace::TraceContext;

use super::frames::Frames;
use super::operations::Operations;
use super::protocol::{ClientMessage, Close, MOST_ID, ServerMessage, respond};
use super::socket::{End, Frame, receive, sent};
use super::wakeups::Wakeups;
use crate::http::authenticator::{Authenticator, Session};
use crate::http::document::persisted::NoDocument;
use crate::http::rejection::Rejection;
use crate::http::request::parameters::Object;
use crate::http::response::error::{ErrorCode, Refusal};
use crate::http::spans::{self, in_span};
use crate::http::transport::Transport;
use crate::observability::metrics::Open;

/// Exchanges messages until the socket ends. `place` is where the request that opened it is in a trace.
pub(super) async fn follow<E: Executor, A: Authenticator>(
    transport: &Arc<Transport<E, A>>,
    socket: &mut WebSocket,
    session: Session,
    frames: Frames,
    place: Option<TraceContext>,
) -> End {
    let over = pin!(async {
        tokio::select! {
            biased;
            () = transport.shutdown.cancelled() => Close::GOING_AWAY,
            () = session.ended.cancelled() => Close::UNAUTHORIZED,
            () = session.outdated.cancelled() => Close::OUTDATED,
        }
    });
    let period = transport.settings.keep_alive;
    let mut connection = Connection {
        transport,
        socket,
        session: Arc::new(session.data),
        ended: session.ended.clone(),
        outdated: session.outdated.clone(),
        operations: Operations::new(transport.settings.max_answer),
        frames,
        place,
        over,
        keep_alive: interval_at(Instant::now() + period, period),
        unanswered: 0,
        wakeups: Wakeups::new(),
        _open: Open::new("wharfinger_websocket_connections"),
    };
    let Err(end) = connection.exchange().await;
    end
}

/// An acknowledged connection.
struct Connection<'a, E, A> {
    transport: &'a Arc<Transport<E, A>>,
    socket: &'a mut WebSocket,
    session: Arc<Data>,
    ended: CancellationToken,
    outdated: CancellationToken,
    operations: Operations,
    frames: Frames,
    place: Option<TraceContext>,
    /// Completes when the server has to close the socket.
    over: Pin<&'a mut (dyn Future<Output = Close> + Send)>,
    keep_alive: Interval,
    /// Pings sent since the peer was last heard of.
    unanswered: u32,
    /// Of everything but the operations.
    wakeups: Wakeups,
    _open: Open,
}

impl<E: Executor, A: Authenticator> Connection<'_, E, A> {
    async fn exchange(&mut self) -> Result<Infallible, End> {
        loop {
            let Self {
                socket,
                over,
                keep_alive,
                wakeups,
                operations,
                ..
            } = self;
            // The next frame, or none where it is time for a ping.
            let frame = poll_fn(|cx| {
                wakeups.poll(cx, |cx| {
                    if let Poll::Ready(close) = over.as_mut().poll(cx) {
                        return Poll::Ready(Err(close.into()));
                    }
                    if let Poll::Ready(frame) = pin!(receive(socket)).poll(cx) {
                        return Poll::Ready(frame.map(Some));
                    }
                    keep_alive.poll_tick(cx).map(|_| Ok(None))
                })
            });
            tokio::select! {
                // Boxed: it is rare, and would make the task of every socket larger.
                frame = frame => Box::pin(self.take(frame?)).await?,
                text = operations.next() => {
                    // The branches are polled in any order: the other one may not have seen yet that it is over.
                    if let Some(close) = self.must_close() {
                        return Err(close.into());
                    }
                    self.say(text).await?;
                }
            }
        }
    }

    /// Returns why the server has to close the socket now; `None` where it has not.
    fn must_close(&self) -> Option<Close> {
        let reasons = [
            (&self.transport.shutdown, Close::GOING_AWAY),
            (&self.ended, Close::UNAUTHORIZED),
            (&self.outdated, Close::OUTDATED),
        ];
        let mut reasons = reasons.into_iter();
        reasons.find_map(|(token, close)| token.is_cancelled().then_some(close))
    }

    async fn take(&mut self, frame: Option<Frame>) -> Result<(), End> {
        let Some(frame) = frame else {
            if self.unanswered == 2 {
                return Err(End::Gone);
            }
            self.unanswered += 1;
            return self.send(Message::Ping(Vec::new().into())).await;
        };
        self.unanswered = 0;
        match frame {
            Frame::Message(message, size) => self.handle(message, size).await,
            Frame::Ping => {
                self.count()?;
                let limit = self.transport.settings.send_timeout;
                let (socket, meanwhile) = self.sending();
                sent(socket.flush(), limit, meanwhile).await
            }
            Frame::Pong => self.count(),
        }
    }

    /// Counts a frame that begins no operation.
    fn count(&mut self) -> Result<(), End> {
        self.frames
            .count()
            .map_err(|refusal| Close::refused(refusal).into())
    }

    async fn handle(&mut self, message: ClientMessage, size: usize) -> Result<(), End> {
        match message {
            ClientMessage::ConnectionInit { .. } => return Err(Close::SECOND_INIT.into()),
            ClientMessage::Ping { payload } => {
                self.count()?;
                self.say(ServerMessage::Pong { payload }.to_text()).await?;
            }
            ClientMessage::Pong { .. } => self.count()?,
            // The end of an operation was counted with its beginning.
            ClientMessage::Complete { id } => {
                if !self.operations.remove(&id) {
                    self.count()?;
                }
            }
            ClientMessage::Subscribe {
                id,
                payload: Object(payload),
            } => {
                if id.is_empty() {
                    return Err(Close::invalid(&"the id is empty").into());
                }
                if id.len() > MOST_ID {
                    return Err(Close::LONG_ID.into());
                }
                if self.operations.contains(&id) {
                    return Err(Close::duplicate(&id).into());
                }
                if let Err(refusal) = self.transport.authenticator.count(&self.session) {
                    return self.refuse(&id, refusal.into_response().errors).await;
                }
                match self.transport.persisted.find(payload) {
                    Ok(request) => self.start(id, request, size).await?,
                    // Neither a document nor the name of one: no message of the protocol.
                    Err(missing @ NoDocument::Missing) => {
                        return Err(Close::invalid(&missing).into());
                    }
                    Err(reason) => self.refuse(&id, vec![reason.into_error()]).await?,
                }
            }
        }
        Ok(())
    }

    async fn start(&mut self, id: String, mut request: Request, size: usize) -> Result<(), End> {
        // A persisted document can be longer than the message that names it.
        let size = size.max(request.query.len());
        if let Err(rejection) = self.admit(&mut request, size) {
            return self.refuse(&id, rejection.into_errors()).await;
        }
        let transport = Arc::clone(self.transport);
        let session = Arc::clone(&self.session);
        let span = spans::socket_operation(&mut request, self.place.as_ref());
        let inner = span.clone();
        let responses = async move {
            let responses = match transport.authenticator.operation(&session, request).await {
                Ok(request) => transport.responses(request, Some(session), &inner),
                Err(refusal) => stream::once(future::ready(refusal.into_response().into())).boxed(),
            };
            in_span(responses, inner)
        };
        let responses = responses.instrument(span).boxed();
        self.operations.insert(id, size, responses);
        Ok(())
    }

    /// Prepares one more operation, whose message or document has so many bytes. Fails where too many run, or their texts
    /// would be too long together: each keeps its own while it runs, so all of them may be as long as one may be.
    fn admit(&self, request: &mut Request, size: usize) -> Result<(), Rejection> {
        let settings = &self.transport.settings;
        let refuse = |message| Err(Refusal::new(ErrorCode::LimitExceeded, message).into());
        let limit = settings.max_operations;
        if self.operations.len() >= limit {
            return refuse(format!(
                "at most {limit} operations can run on one connection"
            ));
        }
        let most = settings.max_body;
        if self.operations.bytes() + size > most {
            return refuse(format!(
                "the operations that run on one connection can have at most {most} bytes of messages: end some, or open another"
            ));
        }
        self.transport.prepare(request)?;
        Ok(())
    }

    /// Answers an operation that does not begin.
    async fn refuse(&mut self, id: &str, errors: Vec<ServerError>) -> Result<(), End> {
        let refusal = async_graphql::Response::from_errors(errors);
        self.say(respond(id, &refusal.into())).await
    }

    fn say(&mut self, text: String) -> impl Future<Output = Result<(), End>> {
        self.send(Message::Text(text.into()))
    }

    fn send(&mut self, message: Message) -> impl Future<Output = Result<(), End>> {
        let limit = self.transport.settings.send_timeout;
        let (socket, meanwhile) = self.sending();
        sent(socket.send(message), limit, meanwhile)
    }

    /// The socket, and what goes on while a message has to wait for its client: operations run, and the server may close it.
    fn sending(&mut self) -> (&mut WebSocket, impl Future<Output = End>) {
        let Self {
            socket,
            over,
            wakeups,
            operations,
            ..
        } = self;
        let meanwhile = async {
            // The loop polls `over` too, and has to poll it again after this replaced its waker.
            wakeups.rouse();
            tokio::select! {
                biased;
                close = over => close.into(),
                never = operations.fill() => match never {},
            }
        };
        (socket, meanwhile)
    }
}

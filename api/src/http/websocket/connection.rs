//! GraphQL over WebSocket: one task per socket and no queue; see `operations` for how a slow reader is held back.

use std::{sync::Arc, time::Duration};

use async_graphql::{Data, Executor, Request, ServerError};
use axum::{
    RequestPartsExt,
    extract::{
        WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, SinkExt as _, StreamExt, future, stream};
use tokio::time::{Instant, interval_at, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, error::ProtocolError};
use wharfinger_jobs::infra::trace::TraceContext;

use crate::observability::metrics::Open;

use super::frames::Frames;
use super::operations::{Operations, Outcome};
use super::protocol::{ClientMessage, Close, MOST_ID, PROTOCOL, ServerMessage, respond};
use crate::http::authenticator::{Gate, Session};
use crate::http::document::persisted::NoDocument;
use crate::http::rejection::{Rejection, rejected};
use crate::http::request::json_object::Object;
use crate::http::request::negotiation::MediaType;
use crate::http::response::error::{ErrorCode, Refusal};
use crate::http::response::payload::Payload;
use crate::http::spans::{self, InSpan};
use crate::http::transport::Transport;

/// Allocated per socket at once, and enough for what clients say: with the default of 128 KiB ten thousand subscribers
/// cost over a gigabyte.
const READ_BUFFER: usize = 2048;
/// How long the peer's half of the closing handshake is awaited.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages and frames that are read of a peer that was told to go. One that goes on is cut off.
const MOST_UNDER_WAY: usize = 10_000;
/// How long a socket that cannot be read any more stays open after the frame that says why: what was not read makes the
/// kernel reset the connection, and a reset can overtake the frame.
const LINGER: Duration = Duration::from_secs(1);

/// Turns the request into a WebSocket, or says why that cannot be.
pub(crate) async fn upgrade<E: Executor, G: Gate>(
    transport: Arc<Transport<E, G>>,
    mut parts: Parts,
) -> Response {
    // A browser opens sockets for any site's page, without asking first.
    if !transport.settings.origins.admit(&parts.headers) {
        let why = "this site may not open a WebSocket here";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    let upgrade = match parts.extract::<WebSocketUpgrade>().await {
        Ok(upgrade) => upgrade.protocols([PROTOCOL]),
        Err(rejection) => return rejection.into_response(),
    };
    if let Err(refusal) = transport.gate.upgrade(&mut parts) {
        return rejected(MediaType::Json, refusal.into());
    }
    let agreed = upgrade.selected_protocol().is_some();
    let max_message = transport.settings.max_body;
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(max_message)
        .max_frame_size(max_message)
        .on_upgrade(move |mut socket| async move {
            let mut parts = Some(Box::new(parts));
            let end = if agreed {
                serve(&transport, &mut parts, &mut socket).await
            } else {
                End::Close(Close::SUBPROTOCOL)
            };
            match end {
                End::Close(close) => say_goodbye(socket, close).await,
                End::Left => see_off(&mut socket).await,
                End::Gone => {}
            }
        })
}

/// How a socket ends.
enum End {
    /// The server closes it.
    Close(Close),
    /// The peer closes it, and waits to hear that this was seen.
    Left,
    /// The peer is out of reach.
    Gone,
}

impl From<Close> for End {
    fn from(close: Close) -> Self {
        Self::Close(close)
    }
}

/// The request that opened the socket is let go when it is known whose the socket is; otherwise it lasts as long as the
/// socket, and with it what the gate counts by it.
async fn serve<E: Executor, G: Gate>(
    transport: &Arc<Transport<E, G>>,
    parts: &mut Option<Box<Parts>>,
    socket: &mut WebSocket,
) -> End {
    let Some(request) = parts.as_deref() else {
        return End::Gone;
    };
    let place = spans::caller(&request.headers);
    let mut frames = Frames::new(transport.settings.frames_per_second);
    // Boxed, so that what only the beginning needs is not carried by the task for the socket's whole life.
    let opened = {
        let opening = Box::pin(open(transport, request, socket, &mut frames));
        tokio::select! {
            opened = opening => opened,
            () = transport.shutdown.cancelled() => Err(Close::GOING_AWAY.into()),
        }
    };
    let session = match opened {
        Ok(session) => session,
        Err(end) => return end,
    };
    *parts = None;
    let mut connection = Connection {
        transport,
        socket,
        session: Arc::new(session.data),
        operations: Operations::new(transport.settings.max_answer),
        frames,
        place,
        _open: Open::new("wharfinger_websocket_connections"),
    };
    tokio::select! {
        biased;
        () = transport.shutdown.cancelled() => Close::GOING_AWAY.into(),
        () = session.ended.cancelled() => Close::UNAUTHORIZED.into(),
        () = session.outdated.cancelled() => Close::OUTDATED.into(),
        end = connection.run() => end,
    }
}

/// Everything up to the acknowledgement.
async fn open<E: Executor, G: Gate>(
    transport: &Transport<E, G>,
    parts: &Parts,
    socket: &mut WebSocket,
    frames: &mut Frames,
) -> Result<Session, End> {
    let settings = &transport.settings;
    let deadline = Instant::now() + settings.init_timeout;
    let payload = loop {
        let message = timeout_at(deadline, receive(socket))
            .await
            .map_err(|_| Close::INIT_TIMEOUT)??;
        frames.count().map_err(Close::refused)?;
        match message {
            Frame::Ping => answer_ping(socket, settings.send_timeout).await?,
            Frame::Pong
            | Frame::Message(ClientMessage::Pong { .. } | ClientMessage::Complete { .. }, _) => {}
            Frame::Message(ClientMessage::Ping { payload }, _) => {
                let pong = ServerMessage::Pong { payload }.to_text();
                send(socket, pong, settings.send_timeout).await?;
            }
            Frame::Message(ClientMessage::Subscribe { .. }, _) => {
                return Err(Close::UNAUTHORIZED.into());
            }
            Frame::Message(ClientMessage::ConnectionInit { payload }, _) => {
                break payload.unwrap_or_default();
            }
        }
    };
    let session = transport
        .gate
        .connection(parts, &payload)
        .await
        .map_err(Close::refused)?;
    send(
        socket,
        ServerMessage::ConnectionAck.to_text(),
        settings.send_timeout,
    )
    .await?;
    Ok(session)
}

/// An acknowledged connection.
struct Connection<'a, E, G> {
    transport: &'a Arc<Transport<E, G>>,
    socket: &'a mut WebSocket,
    session: Arc<Data>,
    operations: Operations,
    frames: Frames,
    /// Where the request that opened it is in a trace.
    place: Option<TraceContext>,
    _open: Open,
}

impl<E: Executor, G: Gate> Connection<'_, E, G> {
    async fn run(&mut self) -> End {
        match self.exchange().await {
            Err(end) => end,
            Ok(never) => match never {},
        }
    }

    async fn exchange(&mut self) -> Result<std::convert::Infallible, End> {
        let period = self.transport.settings.keep_alive;
        let mut keep_alive = interval_at(Instant::now() + period, period);
        // Pings sent since the peer was last heard of.
        let mut unanswered = 0;
        loop {
            tokio::select! {
                message = receive(self.socket) => {
                    unanswered = 0;
                    match message? {
                        Frame::Message(message, size) => self.handle(message, size).await?,
                        Frame::Ping => self.answer_ping().await?,
                        Frame::Pong => self.count()?,
                    }
                }
                (id, outcome) = self.operations.next() => self.forward(&id, outcome).await?,
                _ = keep_alive.tick() => {
                    if unanswered == 2 {
                        return Err(End::Gone);
                    }
                    unanswered += 1;
                    self.send(Message::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    /// Counts what begins no operation.
    fn count(&mut self) -> Result<(), End> {
        self.frames
            .count()
            .map_err(|refusal| Close::refused(refusal).into())
    }

    async fn answer_ping(&mut self) -> Result<(), End> {
        self.count()?;
        tokio::select! {
            biased;
            answered = answer_ping(self.socket, self.transport.settings.send_timeout) => answered,
            never = self.operations.fill() => match never {},
        }
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
                if let Err(refusal) = self.transport.gate.count(&self.session) {
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
            match transport.gate.operation(&session, request).await {
                Ok(request) => transport
                    .responses(request, Some(session), &inner)
                    .map(|event| event.payload)
                    .boxed(),
                Err(refusal) => stream::once(future::ready(refusal.into_response().into())).boxed(),
            }
        };
        // Boxed twice, so that what only the beginning needs is not kept as long as the operation.
        let responses = responses.boxed().flatten_stream().boxed();
        let responses = InSpan::over(responses, span);
        self.operations.insert(id, size, responses);
        Ok(())
    }

    /// Whether one more operation may run, whose message or document has so many bytes. What runs keeps its text, so all of
    /// them together may be as long as one may be.
    fn admit(&self, request: &mut Request, size: usize) -> Result<(), Rejection> {
        let settings = &self.transport.settings;
        let limit = settings.max_operations;
        if self.operations.len() >= limit {
            let message = format!("at most {limit} operations can run on one connection");
            return Err(Refusal::new(ErrorCode::LimitExceeded, message).into());
        }
        let most = settings.max_body;
        if self.operations.bytes() + size > most {
            let message = format!(
                "the operations that run on one connection can have at most {most} bytes of messages: end some, or open another"
            );
            return Err(Refusal::new(ErrorCode::LimitExceeded, message).into());
        }
        self.transport.prepare(request)?;
        Ok(())
    }

    /// Answers an operation that does not begin.
    async fn refuse(&mut self, id: &str, errors: Vec<ServerError>) -> Result<(), End> {
        let refusal = async_graphql::Response::from_errors(errors);
        self.say(respond(id, &refusal.into())).await
    }

    async fn forward(&mut self, id: &str, outcome: Outcome) -> Result<(), End> {
        match outcome {
            Outcome::Next(payload) => {
                if matches!(payload, Payload::Errors(_)) {
                    self.operations.remove(id);
                }
                self.say(respond(id, &payload)).await
            }
            Outcome::Complete => self.say(ServerMessage::Complete { id }.to_text()).await,
        }
    }

    async fn say(&mut self, text: String) -> Result<(), End> {
        self.send(Message::Text(text.into())).await
    }

    /// Sends, and meanwhile keeps the operations moving.
    async fn send(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            biased;
            sent = timeout(self.transport.settings.send_timeout, self.socket.send(message)) => {
                if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(End::Gone) }
            }
            never = self.operations.fill() => match never {},
        }
    }
}

async fn send(socket: &mut WebSocket, text: String, limit: Duration) -> Result<(), End> {
    match timeout(limit, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(End::Gone),
    }
}

/// Sends the answer to a ping, which the library has made when it read the ping. It would read on while the answer waits, and
/// keep one answer after the other for a client that reads none.
async fn answer_ping(socket: &mut WebSocket, limit: Duration) -> Result<(), End> {
    match timeout(limit, socket.flush()).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(End::Gone),
    }
}

/// What a client sends.
enum Frame {
    /// A message, and its length.
    Message(ClientMessage, usize),
    /// A ping of WebSocket's own.
    Ping,
    /// A pong of WebSocket's own: it shows that the peer is there.
    Pong,
}

/// What comes next. Safe to cancel.
async fn receive(socket: &mut WebSocket) -> Result<Frame, End> {
    match socket.recv().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str(&text)
            .map(|Object(message)| Frame::Message(message, text.len()))
            .map_err(|error| Close::invalid(&error).into()),
        Some(Ok(Message::Binary(_))) => Err(Close::invalid(&"binary data").into()),
        Some(Ok(Message::Ping(_))) => Ok(Frame::Ping),
        Some(Ok(Message::Pong(_))) => Ok(Frame::Pong),
        Some(Ok(Message::Close(_))) => Err(End::Left),
        Some(Err(error)) => Err(unreadable(error)),
        None => Err(End::Gone),
    }
}

/// What a message that is no message comes to. Any other failure is the connection's.
fn unreadable(error: axum::Error) -> End {
    match error.into_inner().downcast_ref() {
        Some(WebSocketError::Capacity(_)) => Close::TOO_LONG.into(),
        Some(WebSocketError::Utf8(_)) => Close::NOT_UTF8.into(),
        Some(WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => End::Gone,
        Some(WebSocketError::Protocol(_)) => Close::NO_FRAME.into(),
        _ => End::Gone,
    }
}

/// Answers the peer's close frame with the same code (RFC 6455, 5.5.1): the library does with the next read.
async fn see_off(socket: &mut WebSocket) {
    let _ = timeout(CLOSE_TIMEOUT, drain(socket)).await;
}

/// Reads until the connection is closed, but no more than a client may have had under way.
async fn drain(socket: &mut WebSocket) {
    for _ in 0..MOST_UNDER_WAY {
        let Some(Ok(_)) = socket.recv().await else {
            return;
        };
    }
}

/// Closes and waits for the peer to agree: a connection dropped at once may lose the frame that says why.
async fn say_goodbye(mut socket: WebSocket, close: Close) {
    let unreadable = close.is_of_unreadable();
    let goodbye = async {
        if socket
            .send(Message::Close(Some(close.into())))
            .await
            .is_ok()
        {
            drain(&mut socket).await;
            if unreadable {
                sleep(LINGER).await;
            }
        }
    };
    // A peer that does not answer in time is dropped; there is nobody left to tell.
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}

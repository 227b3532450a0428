//! Receives and sends the frames of one WebSocket, and closes it.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, error::ProtocolError};

use super::protocol::{ClientMessage, Close};
use crate::http::request::parameters::Object;

/// How long the peer's half of the closing handshake is awaited.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most frames that are read from a peer after the close frame; one that sends more is cut off.
const MOST_UNDER_WAY: usize = 10_000;

/// How long a socket that cannot be read any more stays open after the frame that says why. Unread bytes make the kernel
/// reset the connection, and a reset can overtake the frame.
const LINGER: Duration = Duration::from_secs(1);

/// How a socket ends.
pub(super) enum End {
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

/// A frame that a client sent.
pub(super) enum Frame {
    /// A message, and its length.
    Message(ClientMessage, usize),
    /// A ping of WebSocket's own.
    Ping,
    /// A pong of WebSocket's own: it shows that the peer is there.
    Pong,
}

/// Returns the next frame. Fails where there is none, or it cannot be read. Safe to cancel.
pub(super) async fn receive(socket: &mut WebSocket) -> Result<Frame, End> {
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

/// Drives the sending of a message, or a flush: the answer to a ping, which the library has made when it read the ping, is
/// flushed before it reads on, so that it keeps no more of them for a client that reads none. `meanwhile` is driven where that
/// takes time, and may end it.
pub(super) async fn sent(
    sending: impl Future<Output = Result<(), axum::Error>>,
    limit: Duration,
    meanwhile: impl Future<Output = End>,
) -> Result<(), End> {
    let mut sending = pin!(sending);
    // Most messages go out at once and need no timer.
    if let Poll::Ready(sent) = futures::poll!(sending.as_mut()) {
        return sent.map_err(|_| End::Gone);
    }
    tokio::select! {
        biased;
        sent = timeout(limit, sending) => sent.ok().and_then(Result::ok).ok_or(End::Gone),
        end = meanwhile => Err(end),
    }
}

/// Returns how a socket ends after this error: closed with a code for a frame that breaks the protocol, else gone.
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
pub(super) async fn see_off(socket: &mut WebSocket) {
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
pub(super) async fn say_goodbye(mut socket: WebSocket, close: Close) {
    let unreadable = close.is_of_unreadable();
    let goodbye = async {
        let close = Message::Close(Some(close.into()));
        if socket.send(close).await.is_ok() {
            drain(&mut socket).await;
            if unreadable {
                sleep(LINGER).await;
            }
        }
    };
    // A peer that does not answer in time is dropped.
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}

//! From the request for a WebSocket to its acknowledged connection.

use std::sync::Arc;

use async_graphql::Executor;
use axum::RequestPartsExt as _;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::WebSocket;
use axum::http::{StatusCode, request::Parts};
use axum::response::{IntoResponse as _, Response};
use futures::{SinkExt as _, future};
use tokio::time::{Instant, timeout_at};

use super::connection::follow;
use super::frames::Frames;
use super::protocol::{ClientMessage, Close, PROTOCOL, ServerMessage};
use super::socket::{End, Frame, receive, say_goodbye, see_off, sent};
use crate::http::authenticator::{Authenticator, Session};
use crate::http::rejection::rejected;
use crate::http::request::negotiation::MediaType;
use crate::http::spans;
use crate::http::transport::Transport;

/// Bytes of the read buffer that each socket allocates at once. Clients' messages are short; with the default of 128 KiB ten
/// thousand subscribers cost over a gigabyte.
const READ_BUFFER: usize = 2048;

/// Returns the response that turns a request into a WebSocket, or the one that refuses it.
pub(crate) async fn upgrade<E: Executor, A: Authenticator>(
    transport: Arc<Transport<E, A>>,
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
    if let Err(refusal) = transport.authenticator.upgrade(&mut parts) {
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
            let parts = Box::new(parts);
            let opened = if agreed {
                tokio::select! {
                    // Boxed, so that what only the beginning needs is not carried by the task for the socket's whole life.
                    opened = Box::pin(open(&transport, &parts, &mut socket)) => opened,
                    () = transport.shutdown.cancelled() => Err(Close::GOING_AWAY.into()),
                }
            } else {
                Err(Close::SUBPROTOCOL.into())
            };
            let end = match opened {
                Ok((session, frames)) => {
                    let place = spans::caller(&parts.headers);
                    // The authenticator's counts live in its extensions, until the caller is known.
                    drop(parts);
                    follow(&transport, &mut socket, session, frames, place).await
                }
                Err(end) => end,
            };
            match end {
                End::Close(close) => say_goodbye(socket, close).await,
                End::Left => see_off(&mut socket).await,
                End::Gone => {}
            }
        })
}

/// Reads messages up to `connection_init`, authenticates its caller, and acknowledges.
async fn open<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
    parts: &Parts,
    socket: &mut WebSocket,
) -> Result<(Session, Frames), End> {
    let limit = transport.settings.send_timeout;
    let mut frames = Frames::new(transport.settings.frames_per_second);
    let deadline = Instant::now() + transport.settings.init_timeout;
    let payload = loop {
        let message = timeout_at(deadline, receive(socket))
            .await
            .map_err(|_| Close::INIT_TIMEOUT)??;
        frames.count().map_err(Close::refused)?;
        match message {
            Frame::Ping => sent(socket.flush(), limit, future::pending()).await?,
            Frame::Pong
            | Frame::Message(ClientMessage::Pong { .. } | ClientMessage::Complete { .. }, _) => {}
            Frame::Message(ClientMessage::Ping { payload }, _) => {
                let pong = ServerMessage::Pong { payload }.to_message();
                sent(socket.send(pong), limit, future::pending()).await?;
            }
            Frame::Message(ClientMessage::Subscribe { .. }, _) => {
                return Err(Close::UNAUTHORIZED.into());
            }
            Frame::Message(ClientMessage::ConnectionInit { payload }, _) => {
                break payload.unwrap_or_default();
            }
        }
    };
    let connecting = transport.authenticator.connection(parts, &payload);
    let session = connecting.await.map_err(Close::refused)?;
    let acknowledged = ServerMessage::ConnectionAck.to_message();
    sent(socket.send(acknowledged), limit, future::pending()).await?;
    Ok((session, frames))
}

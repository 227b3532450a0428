//! From the request for a WebSocket to its acknowledged connection.

use std::sync::Arc;

use async_graphql::Executor;
use axum::RequestPartsExt as _;
use axum::extract::WebSocketUpgrade;
use axum::extract::ws::WebSocket;
use axum::http::{StatusCode, request::Parts};
use axum::response::{IntoResponse as _, Response};
use futures::future;
use tokio::time::{Instant, timeout_at};

use super::connection::follow;
use super::frames::Frames;
use super::protocol::{ClientMessage, Close, PROTOCOL, ServerMessage};
use super::socket::{End, Frame, answer_ping, receive, say_goodbye, see_off, send};
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

/// Serves a socket until it ends, and returns how. `parts` is the request that opened it, dropped once the caller is known:
/// until then the authenticator's counts live in its extensions.
async fn serve<E: Executor, A: Authenticator>(
    transport: &Arc<Transport<E, A>>,
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
    follow(transport, socket, session, frames, place).await
}

/// Reads messages up to `connection_init`, authenticates its caller, and acknowledges. Returns the session.
async fn open<E: Executor, A: Authenticator>(
    transport: &Transport<E, A>,
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
            Frame::Ping => answer_ping(socket, settings.send_timeout, future::pending()).await?,
            Frame::Pong
            | Frame::Message(ClientMessage::Pong { .. } | ClientMessage::Complete { .. }, _) => {}
            Frame::Message(ClientMessage::Ping { payload }, _) => {
                let pong = ServerMessage::Pong { payload }.to_message();
                send(socket, pong, settings.send_timeout, future::pending()).await?;
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
        .authenticator
        .connection(parts, &payload)
        .await
        .map_err(Close::refused)?;
    let acknowledged = ServerMessage::ConnectionAck.to_message();
    send(
        socket,
        acknowledged,
        settings.send_timeout,
        future::pending(),
    )
    .await?;
    Ok(session)
}

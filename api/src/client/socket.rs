//! A subscription over a WebSocket, in the `graphql-transport-ws` protocol
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>). One socket carries one operation.

use super::error::{ClientError, root_cause};
use super::gateway::{Gateway, RequestError, Response};
use super::operations::Operation;
use super::text::printable;
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use std::marker::PhantomData;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Why there is no subscription, or none any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// No WebSocket is possible on the way to the gateway, so trying again is of no use.
    #[error("no WebSocket: {0}")]
    Unsupported(String),
    /// The connection failed or fell silent. Another one may work.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The gateway refused the subscription, or its events cannot be shown.
    #[error(transparent)]
    Refused(Box<ClientError>),
}

impl From<ClientError> for SocketError {
    fn from(error: ClientError) -> Self {
        Self::Refused(Box::new(error))
    }
}

/// A message from the server.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ServerMessage {
    ConnectionAck,
    Ping,
    Pong,
    Next { payload: Response },
    Error { payload: Vec<RequestError> },
    Complete,
}

/// A running subscription.
pub(crate) struct Subscription<'a, O> {
    gateway: &'a Gateway,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    operation: PhantomData<O>,
}

impl<'a, O: Operation> Subscription<'a, O> {
    /// Connects, authenticates and subscribes.
    pub(crate) async fn start(
        gateway: &'a Gateway,
        variables: &Value,
    ) -> Result<Self, SocketError> {
        let socket = timeout(gateway.pace.silence, connect(gateway))
            .await
            .map_err(|_| lost("no answer in time"))??;
        let mut subscription = Self {
            gateway,
            socket,
            operation: PhantomData,
        };
        let credentials = gateway.token.as_ref().map_or_else(
            || json!({}),
            |token| json!({ "authorization": format!("Bearer {token}") }),
        );
        subscription
            .send(&json!({ "type": "connection_init", "payload": credentials }))
            .await?;
        while !matches!(subscription.receive().await?, ServerMessage::ConnectionAck) {}
        let payload = O::request(variables);
        subscription
            .send(&json!({ "type": "subscribe", "id": "1", "payload": payload }))
            .await?;
        Ok(subscription)
    }

    /// Returns the next event; `None` once the subscription is complete.
    pub(crate) async fn next(&mut self) -> Result<Option<O::Data>, SocketError> {
        loop {
            let response = match self.receive().await? {
                ServerMessage::Next { payload } => payload,
                ServerMessage::Error { payload: errors } => Response { data: None, errors },
                ServerMessage::Complete => return Ok(None),
                ServerMessage::ConnectionAck | ServerMessage::Ping | ServerMessage::Pong => {
                    continue;
                }
            };
            return self.gateway.read(response).map(Some).map_err(|error| {
                if error.may_pass() || matches!(error, ClientError::NotAGateway { .. }) {
                    lost(&error.to_string())
                } else {
                    error.into()
                }
            });
        }
    }

    async fn send(&mut self, message: &Value) -> Result<(), SocketError> {
        let sent = self.socket.send(Message::text(message.to_string())).await;
        sent.map_err(|error| lost(&root_cause(&error)))
    }

    /// Returns one message of the protocol, and answers pings. A silent socket is pinged once, because a connection whose
    /// other end vanished gives no error by itself.
    async fn receive(&mut self) -> Result<ServerMessage, SocketError> {
        let mut pinged = false;
        loop {
            let Ok(message) = timeout(self.gateway.pace.silence, self.socket.next()).await else {
                if pinged {
                    return Err(lost("the gateway fell silent"));
                }
                pinged = true;
                self.send(&json!({ "type": "ping" })).await?;
                continue;
            };
            match message {
                None | Some(Ok(Message::Close(None))) => return Err(lost("closed")),
                Some(Err(error)) => return Err(lost(&root_cause(&error))),
                Some(Ok(Message::Text(text))) => {
                    let message = serde_json::from_str(text.as_str())
                        .map_err(|error| lost(&error.to_string()))?;
                    if matches!(message, ServerMessage::Ping) {
                        self.send(&json!({ "type": "pong" })).await?;
                    }
                    return Ok(message);
                }
                Some(Ok(Message::Close(Some(frame)))) => return Err(self.closed(&frame)),
                Some(Ok(_)) => {}
            }
        }
    }

    /// Returns the meaning of a close code of the protocol.
    fn closed(&self, frame: &CloseFrame) -> SocketError {
        let code = u16::from(frame.code);
        let reason = format!("closed with {code} {}", printable(&frame.reason));
        match code {
            4401 | 4403 => self.gateway.unauthenticated().into(),
            4400 | 4406 => SocketError::Unsupported(reason),
            _ => lost(&reason),
        }
    }
}

async fn connect(
    gateway: &Gateway,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, SocketError> {
    let mut url = gateway.url.clone();
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme)
        .expect("every http(s) URL has a WebSocket form");
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| SocketError::Unsupported(root_cause(&error)))?;
    request.headers_mut().insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static("graphql-transport-ws"),
    );
    match tokio_tungstenite::connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(WsError::Http(response)) if response.status() == StatusCode::UNAUTHORIZED => {
            Err(gateway.unauthenticated().into())
        }
        Err(WsError::Http(response)) if !matches!(response.status().as_u16(), 429 | 502..=504) => {
            Err(SocketError::Unsupported(format!(
                "HTTP {}",
                response.status()
            )))
        }
        Err(error @ (WsError::Protocol(_) | WsError::Url(_) | WsError::HttpFormat(_))) => {
            Err(SocketError::Unsupported(root_cause(&error)))
        }
        Err(error) => Err(lost(&root_cause(&error))),
    }
}

fn lost(reason: &str) -> SocketError {
    SocketError::Lost(printable(reason))
}

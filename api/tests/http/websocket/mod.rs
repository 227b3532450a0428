//! graphql-transport-ws, message by message.

mod closing;
mod operations;
mod sharing;

use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::http_toy::{Toy, serve, settings};

/// Nothing here takes long; a test that would hang fails instead.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request for a socket with our protocol.
fn request(address: SocketAddr) -> Request {
    let url = format!("ws://{address}/graphql");
    let mut request = url.into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", protocol);
    request
}

/// A client that says and hears messages.
pub(crate) struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(connect_async(request(address)).await.unwrap().0)
    }

    /// Connected and acknowledged.
    pub(crate) async fn ready(address: SocketAddr) -> Self {
        Self::ready_as(address, "").await
    }

    /// The same as this user of the toy's.
    async fn ready_as(address: SocketAddr, user: &str) -> Self {
        let mut client = Self::connect(address).await;
        client.introduce(user).await;
        assert_eq!(client.hear().await, json!({"type": "connection_ack"}));
        client
    }

    async fn introduce(&mut self, user: &str) {
        let payload = json!({"authorization": user});
        let init = json!({"type": "connection_init", "payload": payload});
        self.say(init).await;
    }

    /// The next event of `ticks`: its number, and whose execution told it.
    async fn tick(&mut self) -> (u32, String) {
        let mut message = self.hear().await;
        let tick = message["payload"]["data"]["ticks"].take();
        assert_ne!(tick, Value::Null, "{message}");
        let number = tick["number"].as_u64().unwrap();
        let viewer = tick["viewer"].as_str().unwrap_or_default();
        (u32::try_from(number).unwrap(), viewer.to_owned())
    }

    /// The code of the error that ends this operation next.
    pub(crate) async fn refused(&mut self, id: &str) -> Value {
        let mut message = self.hear().await;
        assert_eq!(message["type"], "error", "{message}");
        assert_eq!(message["id"], id, "{message}");
        message["payload"][0]["extensions"]["code"].take()
    }

    pub(crate) async fn say(&mut self, message: Value) {
        let text = Message::text(message.to_string());
        self.0.send(text).await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"id": id, "type": "subscribe", "payload": {"query": query}}))
            .await;
    }

    async fn frame(&mut self) -> Message {
        let frame = timeout(DEADLINE, self.0.next()).await;
        frame.expect("in time").unwrap().unwrap()
    }

    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            match self.frame().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.frame().await {
                let frame = frame.expect("a code");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }
}

async fn server() -> SocketAddr {
    serve(&Toy::default(), settings()).await
}

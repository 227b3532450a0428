//! graphql-transport-ws, message by message.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should panic where it stands"
)]

mod closing;
mod operations;
mod sharing;

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::http_toy::{Toy, serve, settings};

/// Nothing here takes long; a test that would hang fails instead.
const DEADLINE: Duration = Duration::from_secs(20);

/// A client that says and hears messages.
struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self::with_protocol(address, "graphql-transport-ws").await
    }

    async fn with_protocol(address: SocketAddr, protocol: &str) -> Self {
        let mut request = format!("ws://{address}/graphql")
            .into_client_request()
            .unwrap();
        let header = protocol.parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", header);
        Self(connect_async(request).await.unwrap().0)
    }

    /// Connected and acknowledged.
    async fn ready(address: SocketAddr) -> Self {
        Self::ready_as(address, "").await
    }

    /// The same as this user of the toy's.
    async fn ready_as(address: SocketAddr, user: &str) -> Self {
        let mut client = Self::connect(address).await;
        let payload = json!({"authorization": user});
        client
            .say(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(client.hear().await, json!({"type": "connection_ack"}));
        client
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

    async fn say(&mut self, message: Value) {
        self.0
            .send(Message::text(message.to_string()))
            .await
            .unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({"id": id, "type": "subscribe", "payload": {"query": query}}))
            .await;
    }

    async fn frame(&mut self) -> Message {
        timeout(DEADLINE, self.0.next())
            .await
            .expect("in time")
            .unwrap()
            .unwrap()
    }

    async fn hear(&mut self) -> Value {
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
            match self.frame().await {
                Message::Close(Some(frame)) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Message::Close(None) => panic!("closed without a code"),
                _ => {}
            }
        }
    }
}

async fn server() -> SocketAddr {
    serve(&Toy::default(), settings()).await
}

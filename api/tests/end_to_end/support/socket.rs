//! A client of the GraphQL endpoint over WebSocket, by the protocol graphql-transport-ws.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::graphql::Client;
use super::{LOOK_AGAIN, soon};

/// One subscription on a socket of its own.
pub(crate) struct Subscription {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Progress as tests watch it.
const PROGRESS: &str = "subscription($id: ID!) {
    pullProgress(jobId: $id) {
        job { id } sequence state phase attempt downloaded total reused bytesPerSecond remainingSeconds updatedAt
        layers { id state downloaded total }
    }
}";

impl Subscription {
    /// Whether the server closes the socket instead of acknowledging the client's token.
    pub(crate) async fn is_refused(client: &Client) -> bool {
        let mut subscription = Self::open(client).await;
        let message = soon("an answer on the socket", subscription.socket.next()).await;
        matches!(message, None | Some(Ok(Message::Close(_))))
    }

    /// Subscribes.
    pub(crate) async fn start(client: &Client, query: &str, variables: Value) -> Self {
        let mut subscription = Self::open(client).await;
        let acknowledged = subscription.receive().await;
        assert_eq!(acknowledged["type"], "connection_ack", "{acknowledged}");
        let payload = json!({"query": query, "variables": variables});
        subscription
            .send(json!({"id": "1", "type": "subscribe", "payload": payload}))
            .await;
        subscription
    }

    /// The code with which the gateway closes the socket of somebody whom it does not let in.
    pub(crate) async fn refused(client: &Client) -> u16 {
        Self::open(client).await.closed().await
    }

    /// The only error of an operation that is not executed.
    pub(crate) async fn request_error(client: &Client, query: &str) -> Value {
        let mut subscription = Self::start(client, query, json!({})).await;
        let mut message = subscription.receive().await;
        assert_eq!(message["type"], "error", "{message}");
        assert_eq!(message["payload"].as_array().unwrap().len(), 1, "{message}");
        message["payload"][0].take()
    }

    /// The last messages of so many operations, sent one after the other on one socket; none where it is not let in.
    pub(crate) async fn over(
        client: &Client,
        query: &str,
        operations: usize,
    ) -> Option<Vec<Value>> {
        let mut subscription = Self::open(client).await;
        let Some(Ok(Message::Text(_acknowledged))) = subscription.socket.next().await else {
            return None;
        };
        let mut last = Vec::new();
        for id in 0..operations {
            let payload = json!({"query": query});
            subscription
                .send(json!({"id": id.to_string(), "type": "subscribe", "payload": payload}))
                .await;
            let end = loop {
                let message = subscription.receive().await;
                if message["type"] != "next" {
                    break message;
                }
            };
            last.push(end);
        }
        Some(last)
    }

    /// The status with which the gateway refuses to open a socket at all.
    pub(crate) async fn upgrade_refused(client: &Client) -> u16 {
        match connect_async(Self::request(client)).await {
            Err(Error::Http(answer)) => answer.status().as_u16(),
            other => panic!("{other:?}"),
        }
    }

    /// A socket on which nothing was said.
    pub(crate) async fn silent(client: &Client) -> Self {
        Self::try_silent(client)
            .await
            .expect("the socket is opened")
    }

    /// The same, or none where it is not opened.
    pub(crate) async fn try_silent(client: &Client) -> Option<Self> {
        let (socket, _) = connect_async(Self::request(client)).await.ok()?;
        Some(Self { socket })
    }

    /// Whether whoever opened the socket is let in by its request's headers alone.
    pub(crate) async fn acknowledged(&mut self) -> bool {
        self.send(json!({"type": "connection_init"})).await;
        let message = soon("an answer on the socket", self.socket.next()).await;
        matches!(message, Some(Ok(Message::Text(text))) if text.contains("connection_ack"))
    }

    /// The socket, for messages of the test's own.
    pub(crate) fn raw(&mut self) -> &mut WebSocketStream<MaybeTlsStream<TcpStream>> {
        &mut self.socket
    }

    /// Opens a socket and says who is calling.
    async fn open(client: &Client) -> Self {
        let (socket, _) = connect_async(Self::request(client)).await.unwrap();
        let mut subscription = Self { socket };
        let authorization = client.token.as_ref().map(|token| format!("Bearer {token}"));
        let payload = authorization.map(|authorization| json!({"authorization": authorization}));
        subscription
            .send(json!({"type": "connection_init", "payload": payload}))
            .await;
        subscription
    }

    fn request(client: &Client) -> Request {
        let url = format!("ws://{}/graphql", client.address);
        let mut request = url.into_client_request().unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        if let Some(traceparent) = &client.traceparent {
            let traceparent = traceparent.parse().unwrap();
            request.headers_mut().insert("traceparent", traceparent);
        }
        for (name, value) in &client.headers {
            let name: tokio_tungstenite::tungstenite::http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request
    }

    /// Watches a pull.
    pub(crate) async fn progress(client: &Client, job_id: &str) -> Self {
        Self::start(client, PROGRESS, json!({"id": job_id})).await
    }

    /// The next event's only field; none when the subscription has completed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let mut message = self.receive().await;
        match message["type"].as_str() {
            Some("next") => {
                assert_eq!(message["payload"].get("errors"), None);
                let data = message["payload"]["data"].as_object_mut().unwrap();
                data.values_mut().next().map(Value::take)
            }
            Some("complete") => None,
            _ => panic!("{message}"),
        }
    }

    /// The next answer, errors and all; none where there is none for now.
    pub(crate) async fn answer(&mut self) -> Option<Value> {
        let message = tokio::time::timeout(LOOK_AGAIN, self.receive()).await;
        let mut message = message.ok()?;
        let payload = message["payload"].take();
        Some(match message["type"].as_str() {
            Some("error") => json!({"errors": payload}),
            _ => payload,
        })
    }

    /// The first event that is as it should be.
    pub(crate) async fn next_where(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| panic!("completed before an event where {what}"));
            if holds(&event) {
                return event;
            }
        }
    }

    /// The code with which the gateway closes the socket; events that come before are let go.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            let message = soon("the socket is closed", self.socket.next()).await;
            match message.expect("a closing handshake").unwrap() {
                Message::Close(frame) => return frame.expect("a reason").code.into(),
                _event => {}
            }
        }
    }

    /// Every event until it completes.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// The error that the subscription was refused with: an answer without data, as a mutation would get, and the end.
    pub(crate) async fn refusal(&mut self) -> Value {
        let mut message = self.receive().await;
        let payload = &mut message["payload"];
        assert_eq!(payload["data"], Value::Null, "{payload}");
        let error = payload["errors"][0].take();
        assert_eq!(self.next().await, None);
        error
    }

    async fn send(&mut self, message: Value) {
        let text = Message::text(message.to_string());
        self.socket.send(text).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        loop {
            let message = soon("a message on the socket", self.socket.next()).await;
            let Message::Text(text) = message.expect("the socket is open").unwrap() else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).unwrap();
            match message["type"].as_str() {
                Some("ping") => self.send(json!({"type": "pong"})).await,
                _ => return message,
            }
        }
    }
}

//! A client of the GraphQL endpoint over WebSocket, by the protocol graphql-transport-ws.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async, connect_async_tls_with_config,
};

use super::graphql::Client;
use super::soon;

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
    /// Opens a socket and says who is calling; none where the server closes it instead of acknowledging that.
    pub(crate) async fn enter(client: &Client) -> Option<Self> {
        let mut socket = Self::silent(client).await;
        let let_in = socket.is_let_in(client.token.as_deref()).await;
        let_in.then_some(socket)
    }

    /// Subscribes.
    pub(crate) async fn start(client: &Client, query: &str, variables: Value) -> Self {
        let mut socket = Self::enter(client).await.expect("the client is let in");
        let payload = json!({"query": query, "variables": variables});
        socket.subscribe("1", payload).await;
        socket
    }

    /// The code with which the gateway closes the socket of somebody whom it does not let in.
    pub(crate) async fn refused(client: &Client) -> u16 {
        let mut socket = Self::silent(client).await;
        socket.introduce(client.token.as_deref()).await;
        socket.closed().await
    }

    /// The status with which the gateway refuses to open a socket at all.
    pub(crate) async fn upgrade_refused(client: &Client) -> u16 {
        match connect_async(Self::request("ws", client)).await {
            Err(Error::Http(answer)) => answer.status().as_u16(),
            other => panic!("{other:?}"),
        }
    }

    /// A socket on which nothing was said.
    pub(crate) async fn silent(client: &Client) -> Self {
        let socket = Self::try_silent(client).await;
        socket.expect("the socket is opened")
    }

    /// The same, or none where it is not opened.
    pub(crate) async fn try_silent(client: &Client) -> Option<Self> {
        let (socket, _) = connect_async(Self::request("ws", client)).await.ok()?;
        Some(Self { socket })
    }

    /// The same over TLS.
    pub(crate) async fn over_tls(client: &Client, connector: Connector) -> Self {
        let request = Self::request("wss", client);
        let connecting = connect_async_tls_with_config(request, None, false, Some(connector));
        let (socket, _) = connecting.await.unwrap();
        Self { socket }
    }

    /// Says who is calling: by a token, or as the request's headers did.
    pub(crate) async fn introduce(&mut self, token: Option<&str>) {
        let authorization = token.map(|token| json!({"authorization": format!("Bearer {token}")}));
        let init = json!({"type": "connection_init", "payload": authorization});
        self.send(init).await;
    }

    /// Says who is calling. Whether the server acknowledges that, and does not close the socket.
    pub(crate) async fn is_let_in(&mut self, token: Option<&str>) -> bool {
        self.introduce(token).await;
        match soon("an answer on the socket", self.socket.next()).await {
            None | Some(Ok(Message::Close(_))) => false,
            Some(Ok(Message::Text(text))) if text.contains("connection_ack") => true,
            other => panic!("{other:?}"),
        }
    }

    /// Runs an operation to its end. Returns its last message, behind the results.
    pub(crate) async fn operation(&mut self, id: &str, query: &str) -> Value {
        self.subscribe(id, json!({"query": query})).await;
        loop {
            let message = self.receive().await;
            if message["id"] == id && message["type"] != "next" {
                return message;
            }
        }
    }

    /// The socket, for messages of the test's own.
    pub(crate) fn raw(&mut self) -> &mut WebSocketStream<MaybeTlsStream<TcpStream>> {
        &mut self.socket
    }

    fn request(scheme: &str, client: &Client) -> Request {
        let url = format!("{scheme}://{}/graphql", client.address);
        let mut request = url.into_client_request().unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol);
        for (name, value) in &client.headers {
            let name: HeaderName = name.parse().unwrap();
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

    /// The next answer, errors and all.
    pub(crate) async fn answer(&mut self) -> Value {
        let mut message = self.receive().await;
        let payload = message["payload"].take();
        match message["type"].as_str() {
            Some("error") => json!({"errors": payload}),
            _ => payload,
        }
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

    pub(crate) async fn subscribe(&mut self, id: &str, payload: Value) {
        self.send(json!({"id": id, "type": "subscribe", "payload": payload}))
            .await;
    }

    async fn send(&mut self, message: Value) {
        let text = Message::text(message.to_string());
        self.socket.send(text).await.unwrap();
    }

    /// The next message of the protocol; what asks for an answer gets it.
    pub(crate) async fn receive(&mut self) -> Value {
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

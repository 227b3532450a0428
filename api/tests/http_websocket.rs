//! graphql-transport-ws, message by message and close code by close code.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should panic where it stands"
)]

mod http_toy;

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use futures::{SinkExt, StreamExt};
use http_toy::{Toy, serve, settings};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        protocol::frame::{
            Frame,
            coding::{CloseCode, Data, OpCode},
        },
    },
};
use wharfinger::http::TransportSettings;

/// Nothing here takes long; a test that would hang fails instead.
const DEADLINE: Duration = Duration::from_secs(20);

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

#[tokio::test]
async fn every_kind_of_operation_runs_over_the_socket() {
    let mut client = Client::ready(server().await).await;
    for (query, data) in [
        ("{ hello }", json!([{"hello": "hello world"}])),
        ("mutation { increment(by: 1) }", json!([{"increment": 2}])),
        (
            "subscription { count(to: 2) }",
            json!([{"count": 0}, {"count": 1}]),
        ),
    ] {
        client.subscribe("1", query).await;
        for expected in data.as_array().unwrap() {
            let next = json!({"id": "1", "type": "next", "payload": {"data": expected}});
            assert_eq!(client.hear().await, next);
        }
        assert_eq!(client.hear().await, json!({"id": "1", "type": "complete"}));
    }
}

#[tokio::test]
async fn a_request_error_ends_the_operation_with_error() {
    let mut client = Client::ready(server().await).await;
    for query in ["{", "{ nothing }", "subscription { nothing }"] {
        client.subscribe("1", query).await;
        let message = client.hear().await;
        assert_eq!(
            (&message["type"], &message["id"]),
            (&json!("error"), &json!("1"))
        );
        assert_eq!(message["payload"][0]["extensions"]["code"], "BAD_REQUEST");
    }
    client.subscribe("1", "subscription { forbidden }").await;
    let message = client.hear().await;
    assert_eq!(message["type"], "next");
    assert_eq!(
        message["payload"]["errors"][0]["extensions"]["code"],
        "FORBIDDEN"
    );
    assert_eq!(client.hear().await["type"], "complete");
}

#[tokio::test]
async fn ping_is_answered_before_and_after_the_acknowledgement() {
    let mut client = Client::connect(server().await).await;
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
    client
        .say(json!({"type": "connection_init", "payload": null}))
        .await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    client.say(json!({"type": "pong"})).await;
    client
        .say(json!({"type": "ping", "payload": {"at": 1}}))
        .await;
    assert_eq!(
        client.hear().await,
        json!({"type": "pong", "payload": {"at": 1}})
    );
}

#[tokio::test]
async fn completing_one_operation_leaves_the_others() {
    let toy = Toy::default();
    let mut client = Client::ready(serve(&toy, settings()).await).await;
    client
        .subscribe("gone", "subscription { untilReleased }")
        .await;
    client.say(json!({"id": "gone", "type": "complete"})).await;
    client
        .say(json!({"id": "never was", "type": "complete"}))
        .await;
    client
        .subscribe("stays", "subscription { untilReleased }")
        .await;
    // Answered after the subscriptions were started, so that the release reaches them.
    client.subscribe("sync", "{ hello }").await;
    assert_eq!(client.hear().await["id"], "sync");
    assert_eq!(client.hear().await["type"], "complete");
    toy.release.notify_waiters();
    toy.release.notify_one();
    let next = json!({"id": "stays", "type": "next", "payload": {"data": {"untilReleased": 1}}});
    assert_eq!(client.hear().await, next);
    // The id is free again.
    client.subscribe("gone", "{ hello }").await;
    assert_eq!(client.hear().await["id"], "gone");
}

#[tokio::test]
async fn operations_on_one_socket_are_limited() {
    let mut client = Client::ready(server().await).await;
    for id in ["1", "2", "3", "4"] {
        client.subscribe(id, "subscription { silence }").await;
    }
    let message = client.hear().await;
    assert_eq!(
        (&message["type"], &message["id"]),
        (&json!("error"), &json!("4"))
    );
    assert_eq!(
        message["payload"][0]["extensions"]["code"],
        "LIMIT_EXCEEDED"
    );
    client.say(json!({"id": "1", "type": "complete"})).await;
    client.subscribe("4", "{ hello }").await;
    assert_eq!(client.hear().await["type"], "next");
}

#[tokio::test]
async fn the_gate_may_refuse_one_operation() {
    let mut client = Client::ready(server().await).await;
    let payload = json!({"query": "query Refused { hello }", "operationName": "Refused"});
    client
        .say(json!({"id": "1", "type": "subscribe", "payload": payload}))
        .await;
    let message = client.hear().await;
    assert_eq!(message["type"], "error");
    assert_eq!(message["payload"][0]["extensions"]["code"], "RATE_LIMITED");
}

#[tokio::test]
async fn the_token_of_connection_init_says_who_is_calling() {
    let address = server().await;
    for (token, code) in [
        ("Bearer stale", 4403),
        ("Bearer busy", 1013),
        ("Bearer crowded", 4429),
    ] {
        let mut client = Client::connect(address).await;
        client
            .say(json!({"type": "connection_init", "payload": {"authorization": token}}))
            .await;
        assert_eq!(client.closed().await.0, code);
    }
    let mut client = Client::connect(address).await;
    let payload = json!({"authorization": "Bearer user-ada"});
    client
        .say(json!({"type": "connection_init", "payload": payload}))
        .await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    client.subscribe("1", "{ caller }").await;
    assert_eq!(client.hear().await["payload"]["data"]["caller"], "user-ada");
}

#[tokio::test]
async fn what_is_no_message_closes_with_4400() {
    let address = server().await;
    for text in [
        "nonsense",
        "{}",
        "{\"type\": \"other\"}",
        "{\"type\": \"subscribe\", \"payload\": {\"query\": \"{ hello }\"}}",
        "{\"type\": \"subscribe\", \"id\": \"1\", \"payload\": {}}",
        "{\"type\": \"subscribe\", \"id\": \"\", \"payload\": {\"query\": \"{ hello }\"}}",
        "{\"type\": \"connection_init\", \"payload\": 1}",
    ] {
        let mut client = Client::ready(address).await;
        client.0.send(Message::text(text)).await.unwrap();
        assert_eq!(client.closed().await.0, 4400, "{text}");
    }
    let mut client = Client::connect(address).await;
    client.0.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(client.closed().await.0, 4400);
}

#[tokio::test]
async fn an_id_that_every_event_would_carry_has_a_bound() {
    let address = server().await;
    let mut client = Client::ready(address).await;
    let longest = "x".repeat(256);
    client.subscribe(&longest, "{ hello }").await;
    assert_eq!(client.hear().await["id"], longest);
    let mut client = Client::ready(address).await;
    client.subscribe(&"x".repeat(257), "{ hello }").await;
    let expected = "Invalid message: the id is too long".to_owned();
    assert_eq!(client.closed().await, (4400, expected));
}

#[tokio::test]
async fn what_runs_on_one_socket_has_a_bound_in_bytes() {
    let mut client = Client::ready(server().await).await;
    // Two of them are more than one message may have.
    let long = format!("subscription {{ silence }} #{}", "x".repeat(2500));
    client.subscribe("1", &long).await;
    client.subscribe("2", &long).await;
    let message = client.hear().await;
    assert_eq!(
        (&message["type"], &message["id"]),
        (&json!("error"), &json!("2"))
    );
    assert_eq!(
        message["payload"][0]["extensions"]["code"],
        "LIMIT_EXCEEDED"
    );
    client.subscribe("3", "{ hello }").await;
    assert_eq!(client.hear().await["type"], "next");
    assert_eq!(client.hear().await["type"], "complete");
    // What has ended counts no more.
    client.say(json!({"id": "1", "type": "complete"})).await;
    client
        .subscribe("2", &long.replace("subscription { silence }", "{ hello }"))
        .await;
    assert_eq!(client.hear().await["type"], "next");
}

#[tokio::test]
async fn what_is_no_text_or_too_long_is_closed_with_a_code() {
    let address = server().await;
    for acknowledged in [false, true] {
        let connect = async || {
            if acknowledged {
                Client::ready(address).await
            } else {
                Client::connect(address).await
            }
        };
        let mut long = connect().await;
        long.subscribe("1", &"x".repeat(5000)).await;
        let expected = (1009, "Message too long".to_owned());
        assert_eq!(long.closed().await, expected);

        // One message in frames that are short enough each.
        let mut parts = connect().await;
        for (code, last) in [(Data::Text, false), (Data::Continue, true)] {
            let frame = Frame::message("x".repeat(3000), OpCode::Data(code), last);
            parts.0.send(Message::Frame(frame)).await.unwrap();
        }
        assert_eq!(parts.closed().await.0, 1009);

        let mut no_text = connect().await;
        let frame = Frame::message(vec![b'{', 0xFF], OpCode::Data(Data::Text), true);
        no_text.0.send(Message::Frame(frame)).await.unwrap();
        assert_eq!(no_text.closed().await, (1007, "Text is UTF-8".to_owned()));
    }
}

#[tokio::test]
async fn what_is_refused_for_its_document_is_refused_before_anybody_is_looked_up() {
    let toy = Toy::default();
    let mut client = Client::ready_as(serve(&toy, settings()).await, "user-ada").await;
    for (document, code) in [
        ("{ tooMuch }", "LIMIT_EXCEEDED"),
        (&"{".repeat(100), "LIMIT_EXCEEDED"),
        ("{", "BAD_REQUEST"),
    ] {
        client.subscribe("1", document).await;
        let message = client.hear().await;
        assert_eq!(message["type"], "error");
        assert_eq!(message["payload"][0]["extensions"]["code"], code);
    }
    assert_eq!(toy.looked_up.load(Ordering::SeqCst), 0);
    client.subscribe("1", "{ hello }").await;
    assert_eq!(client.hear().await["type"], "next");
    assert_eq!(toy.looked_up.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn breaking_the_order_of_the_protocol_has_a_code_each() {
    let address = server().await;

    let mut early = Client::connect(address).await;
    early.subscribe("1", "{ hello }").await;
    assert_eq!(early.closed().await, (4401, "Unauthorized".to_owned()));

    let mut twice = Client::ready(address).await;
    twice.say(json!({"type": "connection_init"})).await;
    assert_eq!(
        twice.closed().await,
        (4429, "Too many initialisation requests".to_owned())
    );

    let mut same = Client::ready(address).await;
    same.subscribe("1", "subscription { silence }").await;
    same.subscribe("1", "{ hello }").await;
    assert_eq!(
        same.closed().await,
        (4409, "Subscriber for 1 already exists".to_owned())
    );
}

#[tokio::test]
async fn a_silent_client_is_closed_with_4408() {
    let settings = TransportSettings {
        init_timeout: Duration::from_millis(1),
        ..settings()
    };
    let mut client = Client::connect(serve(&Toy::default(), settings).await).await;
    let expected = (4408, "Connection initialisation timeout".to_owned());
    assert_eq!(client.closed().await, expected);
}

#[tokio::test]
async fn another_sub_protocol_is_closed_with_4406() {
    // tungstenite's client fails when its protocol is not chosen, so this one asks for none.
    let url = format!("ws://{}/graphql", server().await);
    let mut client = Client(connect_async(url).await.unwrap().0);
    assert_eq!(
        client.closed().await,
        (4406, "Subprotocol not acceptable".to_owned())
    );
}

#[tokio::test]
async fn the_end_of_a_session_and_of_the_server_close_sockets() {
    let toy = Toy::default();
    let address = serve(&toy, settings()).await;
    let mut revoked = Client::ready(address).await;
    toy.revoked.cancel();
    assert_eq!(revoked.closed().await, (4401, "Unauthorized".to_owned()));

    let demoted = Toy::default();
    let mut lesser = Client::ready(serve(&demoted, settings()).await).await;
    demoted.demoted.cancel();
    let expected = "Your rights have changed: connect again".to_owned();
    assert_eq!(lesser.closed().await, (4403, expected));

    let mut waiting = Client::connect(address).await;
    toy.shutdown.cancel();
    let (code, _) = waiting.closed().await;
    assert_eq!(code, u16::from(CloseCode::Away));
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_dropped() {
    let settings = TransportSettings {
        keep_alive: Duration::from_millis(1),
        ..settings()
    };
    let client = Client::ready(serve(&Toy::default(), settings).await).await;
    // Reads bytes but answers nothing: the pongs of tungstenite would be sent by reading through it.
    let MaybeTlsStream::Plain(mut stream) = client.0.into_inner() else {
        panic!("no TLS here")
    };
    let mut received = Vec::new();
    let everything = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut received);
    // Ends, with or without an error, once the server lets go.
    assert!(
        timeout(DEADLINE, everything).await.is_ok(),
        "dropped in time"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_pauses_its_stream_and_is_dropped() {
    let toy = Toy::default();
    let settings = TransportSettings {
        send_timeout: Duration::from_millis(200),
        ..settings()
    };
    let mut client = Client::ready(serve(&toy, settings).await).await;
    client.subscribe("1", "subscription { flood }").await;
    assert_eq!(client.hear().await["type"], "next");
    // Nothing is read from here on. The stream stands still when the kernel's buffers are full; when the
    // server gives up, the toy's stream is dropped and with it the last other handle of its counter.
    let handles = || std::sync::Arc::strong_count(&toy.flooded);
    let running = handles();
    let dropped = async {
        while handles() >= running {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, dropped).await.expect("dropped in time");
    // A few megabytes of socket buffers at most, where an unbounded queue would have gone on.
    assert!(toy.flooded.load(Ordering::SeqCst) < 32 * 1024);
}

#[tokio::test]
async fn a_page_of_another_site_opens_no_socket() {
    let address = server().await;
    let own = format!("http://{address}");
    let neighbour = format!("{own}0");
    for (origin, status) in [
        (own.as_str(), 101),
        ("http://evil.example", 403),
        ("null", 403),
        (neighbour.as_str(), 403),
    ] {
        let mut request = format!("ws://{address}/graphql")
            .into_client_request()
            .unwrap();
        let headers = request.headers_mut();
        headers.insert("origin", origin.parse().unwrap());
        let protocol = "graphql-transport-ws".parse().unwrap();
        headers.insert("sec-websocket-protocol", protocol);
        let answered = match connect_async(request).await {
            Ok((_, answer)) => answer.status(),
            Err(Error::Http(answer)) => answer.status(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(answered, status, "{origin}");
    }
}

const TICKS: &str = "subscription { ticks { number viewer } }";

#[tokio::test]
async fn subscribers_with_the_same_rights_share_an_execution_and_nobody_elses() {
    let toy = Toy::default();
    let address = serve(&toy, settings()).await;
    let mut clients = Vec::new();
    for user in ["user-ada", "user-ada", "user-bob", "user-ada", "user-bob"] {
        let mut client = Client::ready_as(address, user).await;
        client.subscribe("1", TICKS).await;
        assert_eq!(client.tick().await, (0, user.to_owned()));
        clients.push((client, user));
    }
    for number in 1..10 {
        toy.ticks.send_replace(number);
        for (client, user) in &mut clients {
            assert_eq!(client.tick().await, (number, (*user).to_owned()));
        }
    }
    let watched = || toy.watched.load(Ordering::SeqCst);
    assert_eq!(watched(), 2, "one for each user");

    // Another text is another execution, and whoever began one may leave the others to it.
    let (mut first, _) = clients.remove(0);
    first.say(json!({"id": "1", "type": "complete"})).await;
    first
        .subscribe("2", "subscription { ticks { number } }")
        .await;
    assert_eq!(first.tick().await.0, 9);
    assert_eq!(watched(), 3);
    toy.ticks.send_replace(10);
    for (client, _) in &mut clients {
        assert_eq!(client.tick().await.0, 10);
    }

    // The last one takes it along.
    drop((first, clients));
    let nobody = async {
        while toy.ticks.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, nobody)
        .await
        .expect("nothing runs for nobody");
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_state_and_no_growing_buffer() {
    const EVENTS: u32 = 1_000;
    let toy = Toy::default();
    let patient = TransportSettings {
        send_timeout: Duration::from_mins(5),
        ..settings()
    };
    let address = serve(&toy, patient).await;
    let query = "subscription { ticks { number text } }";
    let (mut slow, mut quick) = (Client::ready(address).await, Client::ready(address).await);
    for client in [&mut slow, &mut quick] {
        client.subscribe("1", query).await;
        assert_eq!(client.tick().await.0, 0);
    }
    // 65 MB, which the slow one does not read. The quick one is not held up.
    for number in 1..=EVENTS {
        toy.ticks.send_replace(number);
        assert_eq!(quick.tick().await.0, number);
    }
    let (mut seen, mut last) = (0, 0);
    while last < EVENTS {
        let (number, _) = slow.tick().await;
        assert!(number > last, "{number} after {last}");
        (seen, last) = (seen + 1, number);
    }
    // What the kernel had buffered, the one that was being written, and the newest.
    assert!(seen < EVENTS / 4, "{seen} of {EVENTS} were kept for it");
}

//! How sockets end, close code by close code.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, connect_async};
use wharfinger::http::TransportSettings;

use super::{Client, DEADLINE, request, server};
use crate::http_toy::{Toy, serve, settings};

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
        "{\"type\": \"pong\", \"payload\": 1}",
        "[\"ping\"]",
        "{\"type\": \"subscribe\", \"id\": \"1\", \"payload\": [\"{ hello }\", null, null, null]}",
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
async fn a_client_that_closes_is_answered_with_its_code() {
    let address = server().await;
    for acknowledged in [false, true] {
        let mut client = if acknowledged {
            let mut client = Client::ready(address).await;
            client.subscribe("1", "subscription { silence }").await;
            client
        } else {
            Client::connect(address).await
        };
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "done".into(),
        };
        client.0.send(Message::Close(Some(close))).await.unwrap();
        assert_eq!(client.closed().await.0, 1000, "{acknowledged}");
        let rest = timeout(DEADLINE, client.0.next()).await.expect("in time");
        assert!(rest.is_none(), "then the connection ends: {rest:?}");
    }
}

#[tokio::test]
async fn what_no_client_may_send_is_closed_with_1002() {
    let address = server().await;
    let mut client = Client::ready(address).await;
    let MaybeTlsStream::Plain(socket) = client.0.get_mut() else {
        panic!("the test speaks plain TCP")
    };
    // A text of two letters, which a client has to mask.
    socket.write_all(&[0x81, 2, b'{', b'}']).await.unwrap();
    assert_eq!(client.closed().await.0, 1002);
}

#[tokio::test]
async fn breaking_the_order_of_the_protocol_has_a_code_each() {
    let address = server().await;

    let mut early = Client::connect(address).await;
    early.subscribe("1", "{ hello }").await;
    assert_eq!(early.closed().await, (4401, "Unauthorized".to_owned()));

    let mut twice = Client::ready(address).await;
    twice.say(json!({"type": "connection_init"})).await;
    let expected = (4429, "Too many initialisation requests".to_owned());
    assert_eq!(twice.closed().await, expected);

    let mut same = Client::ready(address).await;
    same.subscribe("1", "subscription { silence }").await;
    same.subscribe("1", "{ hello }").await;
    let expected = (4409, "Subscriber for 1 already exists".to_owned());
    assert_eq!(same.closed().await, expected);
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
    let expected = (4406, "Subprotocol not acceptable".to_owned());
    assert_eq!(client.closed().await, expected);
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
async fn a_session_that_ends_gets_no_further_event_of_a_stream_that_is_always_ready() {
    for (by, code) in [("revoked", 4401), ("demoted", 4403), ("shutdown", 1001)] {
        let mut client = Client::ready(serve(&Toy::default(), settings()).await).await;
        let stream = format!("subscription {{ ending(by: \"{by}\") }}");
        client.subscribe("1", &stream).await;
        for number in 0..3 {
            let event = client.hear().await;
            assert_eq!(event["payload"]["data"]["ending"], number, "{by}: {event}");
        }
        assert_eq!(client.closed().await.0, code, "{by}");
    }
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
    let everything = timeout(DEADLINE, stream.read_to_end(&mut received)).await;
    // Ends, with or without an error, once the server lets go.
    assert!(everything.is_ok(), "dropped in time");
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
        let mut request = request(address);
        let headers = request.headers_mut();
        headers.insert("origin", origin.parse().unwrap());
        let answered = match connect_async(request).await {
            Ok((_, answer)) => answer.status(),
            Err(Error::Http(answer)) => answer.status(),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(answered, status, "{origin}");
    }
}

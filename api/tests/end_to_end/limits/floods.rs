//! Clients that send frames to a socket without reading what comes back.

use std::time::Duration;

use futures::SinkExt as _;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::process::Process;
use crate::support::socket::Subscription;
use crate::support::soon;
use crate::support::world::World;

/// What is sent at most.
const FLOOD: usize = 300 << 20;

/// The same for frames that need no answer: nothing holds them back.
const SMALL_FLOOD: usize = 30 << 20;

/// What a gateway may grow by meanwhile.
const GROWTH: u64 = 20 << 20;

/// How long a gateway may read nothing before the flood counts as held back.
const HELD_BACK: Duration = Duration::from_mins(1);

/// A socket that was opened by hand, so that nothing reads it.
async fn opened(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /graphql HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(&mut stream).lines();
    let status = lines.next_line().await.unwrap().unwrap();
    assert!(status.contains("101"), "{status}");
    while !lines.next_line().await.unwrap().unwrap().is_empty() {}
    stream
}

/// A client's frame whose mask changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn ping() -> Vec<u8> {
    frame(0x89, &[b'x'; 125])
}

/// Sends a frame again and again, and reads nothing. Returns whether the gateway ended the connection.
async fn flood(stream: &mut TcpStream, frame: &[u8], most: usize) -> bool {
    let chunk = frame.repeat((1 << 16) / frame.len());
    let mut sent = 0;
    while sent < most {
        match timeout(HELD_BACK, stream.write_all(&chunk)).await {
            Ok(Ok(())) => sent += chunk.len(),
            Ok(Err(_)) => return true,
            Err(_) => return false,
        }
    }
    false
}

async fn gateway(world: &mut World, per_second: &str) -> Process {
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", per_second);
    world.set("WHARFINGER_WEBSOCKET__INIT_TIMEOUT", "5m");
    world.set("WHARFINGER_WEBSOCKET__SEND_TIMEOUT", "2s");
    world.gateway().await
}

#[tokio::test]
async fn pings_whose_answers_are_not_read_take_no_memory() {
    // Counted, and not counted: then only what is not read holds them back.
    for per_second in ["50", "0"] {
        let mut world = World::embedded();
        let gateway = gateway(&mut world, per_second).await;
        let mut stream = opened(&gateway.address).await;
        let before = gateway.most_resident();
        let ended = flood(&mut stream, &ping(), FLOOD).await;
        let grown = gateway.most_resident().saturating_sub(before);
        assert!(grown < GROWTH, "{per_second}: {grown} bytes");
        assert!(ended, "{per_second}: the socket is ended");
        let another = gateway.anonymous();
        assert!(another.get("/healthz").await.status().is_success());
    }
}

#[tokio::test]
async fn no_other_frames_take_memory_either() {
    let pong = frame(0x8a, &[b'x'; 125]);
    let empty_fragment = frame(0x00, b"");
    let said = frame(0x81, br#"{"type":"pong"}"#);
    let payload = "x".repeat(10_000);
    let ping = json!({"type": "ping", "payload": {"x": payload}}).to_string();
    let asked = frame(0x81, ping.as_bytes());
    let mut world = World::embedded();
    world.set("WHARFINGER_WEBSOCKET__KEEP_ALIVE", "1s");
    let gateway = gateway(&mut world, "0").await;
    for (what, begin, again) in [
        ("pongs", &b""[..], &pong),
        ("fragments", &frame(0x01, b""), &empty_fragment),
        ("the protocol's pongs", b"", &said),
        ("the protocol's pings", b"", &asked),
    ] {
        let mut stream = opened(&gateway.address).await;
        stream.write_all(begin).await.unwrap();
        let before = gateway.most_resident();
        // Where there is nothing to answer, nothing holds it back.
        flood(&mut stream, again, SMALL_FLOOD).await;
        let grown = gateway.most_resident().saturating_sub(before);
        assert!(grown < GROWTH, "{what}: {grown} bytes");
    }
}

#[tokio::test]
async fn more_frames_than_requests_may_come_close_the_socket() {
    let mut world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = gateway(&mut world, "5").await;
    let ada = gateway.client(&token);
    let pong = json!({"type": "pong"}).to_string();
    for message in [
        Message::Ping(vec![1].into()),
        Message::Pong(vec![1].into()),
        Message::text(pong),
    ] {
        // Before it is known whose the socket is, and after.
        let mut silent = Subscription::silent(&ada).await;
        assert_eq!(closed(&mut silent, &message).await, 1013, "{message}");
        let balance = "subscription { balanceChanged { total } }";
        let mut known = Subscription::start(&ada, balance, json!({})).await;
        assert_eq!(known.next().await.unwrap()["total"], "1000");
        assert_eq!(closed(&mut known, &message).await, 1013, "{message}");
    }
    // Ten at once are within it, and so is the end of what was begun.
    let mut socket = Subscription::silent(&ada).await;
    for _ in 0..9 {
        let ping = Message::Ping(vec![1].into());
        socket.raw().send(ping).await.unwrap();
    }
    socket.introduce(Some(&token)).await;
    assert_eq!(socket.receive().await["type"], "connection_ack");
}

/// Sends until the socket is closed; returns the code.
async fn closed(subscription: &mut Subscription, message: &Message) -> u16 {
    for _ in 0..1000 {
        // It may be closed already.
        if subscription.raw().send(message.clone()).await.is_err() {
            break;
        }
    }
    subscription.closed().await
}

#[tokio::test]
async fn pings_that_are_read_are_answered() {
    let mut world = World::embedded();
    let gateway = gateway(&mut world, "0").await;
    let mut stream = opened(&gateway.address).await;
    let count = 10_000;
    let frame = ping();
    let (mut reader, mut writer) = stream.split();
    let pongs = frame.repeat(count);
    let send = async { writer.write_all(&pongs).await.unwrap() };
    // A server's frames have no mask.
    let mut answers = vec![0; count * (frame.len() - 4)];
    let read = async { reader.read_exact(&mut answers).await.unwrap() };
    soon("all are answered", async { tokio::join!(send, read) }).await;
    assert!(answers.chunks(127).all(|pong| pong[0] == 0x8a));
}

//! GraphQL over server-sent events, event by event.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wharfinger::http::TransportSettings;

use crate::events::{Event, Events};
use crate::http_toy::{Toy, serve, serve_at, settings, until};
use crate::post_get::client;

const EVENTS: &str = "text/event-stream";
const DEADLINE: Duration = Duration::from_mins(1);

async fn server() -> String {
    serve_at(&Toy::default(), settings()).await
}

fn post(client: &Client, url: &str, query: &str) -> RequestBuilder {
    let request = client.post(url).header("accept", EVENTS);
    request.json(&json!({"query": query}))
}

async fn subscribe(url: &str, query: &str) -> Events {
    let request = post(&client(), url, query);
    Events::of(request.send().await.unwrap())
}

#[tokio::test]
async fn every_kind_of_operation_is_answered_with_events() {
    let url = server().await;
    for (query, data) in [
        ("{ hello }", json!([{"hello": "hello world"}])),
        ("mutation { increment(by: 1) }", json!([{"increment": 2}])),
        (
            "subscription { count(to: 2) }",
            json!([{"count": 0}, {"count": 1}]),
        ),
    ] {
        let response = post(&client(), &url, query).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["vary"], "Accept");
        assert_eq!(headers["x-accel-buffering"], "no");
        let mut events = Events::of(response);
        let first = events.block().await.unwrap();
        assert!(first.is_comment(), "the stream shows that it is open");
        for expected in data.as_array().unwrap() {
            assert_eq!(events.result().await, json!({"data": expected}));
        }
        events.completes().await;
    }
}

#[tokio::test]
async fn get_streams_queries_and_subscriptions_and_no_mutation() {
    let url = server().await;
    let get = |query: &str| {
        let request = client().get(&url).query(&[("query", query)]);
        request.header("accept", EVENTS).send()
    };
    for query in ["{ hello }", "subscription { count(to: 1) }"] {
        let mut events = Events::of(get(query).await.unwrap());
        assert!(events.result().await.get("data").is_some());
        events.completes().await;
    }
    let refused = get("mutation { increment(by: 1) }").await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.headers()["allow"], "POST");
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_as_an_event() {
    let url = server().await;
    for query in ["{", "{ nothing }", "subscription { nothing }"] {
        let mut events = subscribe(&url, query).await;
        let answer = events.result().await;
        assert!(answer.get("data").is_none(), "{answer}");
        let code = &answer["errors"][0]["extensions"]["code"];
        assert_eq!(code, "BAD_REQUEST", "{query}");
        events.completes().await;
    }
    let unknown =
        json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0".repeat(64)}}});
    let named = client().post(&url).header("accept", EVENTS).json(&unknown);
    let mut events = Events::of(named.send().await.unwrap());
    let answer = events.result().await;
    assert_eq!(answer["errors"][0]["message"], "PersistedQueryNotFound");
    events.completes().await;
    let mut events = subscribe(&url, "subscription { forbidden }").await;
    let answer = events.result().await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
    events.completes().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_has_a_status() {
    let url = server().await;
    let malformed = client().post(&url).header("accept", EVENTS).json(&json!(1));
    let stale = post(&client(), &url, "{ hello }").bearer_auth("stale");
    let batch = client().post(&url).header("accept", EVENTS);
    let batch = batch.json(&json!([{"query": "{ hello }"}]));
    for (request, status) in [
        (malformed, StatusCode::BAD_REQUEST),
        (stale, StatusCode::UNAUTHORIZED),
        (batch, StatusCode::BAD_REQUEST),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let media = &answer.headers()["content-type"];
        assert_eq!(media, "application/json; charset=utf-8");
    }
}

#[tokio::test]
async fn a_client_that_takes_both_gets_events_for_what_has_more_than_one_result() {
    let url = server().await;
    let send = |query: &str| {
        let request = client().post(&url).json(&json!({"query": query}));
        let accept = "application/graphql-response+json, application/json, text/event-stream";
        request.header("accept", accept).send()
    };
    let single = send("{ hello }").await.unwrap();
    let media = &single.headers()["content-type"];
    assert_eq!(media, "application/graphql-response+json; charset=utf-8");
    let mut events = Events::of(send("subscription { count(to: 1) }").await.unwrap());
    assert_eq!(events.result().await, json!({"data": {"count": 0}}));
    let broken = send("{").await.unwrap();
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_lives() {
    let settings = TransportSettings {
        sse_keep_alive: Duration::from_millis(20),
        ..settings()
    };
    let url = serve_at(&Toy::default(), settings).await;
    let mut events = subscribe(&url, "subscription { silence }").await;
    for _ in 0..3 {
        assert_eq!(events.block().await, Some(Event::default()));
    }
}

#[tokio::test]
async fn a_session_that_is_over_ends_the_stream_and_says_so() {
    let toy = Toy::default();
    let url = serve_at(&toy, settings()).await;
    let mut events = subscribe(&url, "subscription { silence }").await;
    assert!(events.block().await.unwrap().is_comment());
    toy.revoked.cancel();
    let answer = events.result().await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    events.completes().await;
}

#[tokio::test]
async fn a_server_that_stops_breaks_the_stream_off_so_that_the_client_comes_back() {
    let toy = Toy::default();
    let url = serve_at(&toy, settings()).await;
    let mut events = subscribe(&url, "subscription { silence }").await;
    assert!(events.block().await.unwrap().is_comment());
    toy.shutdown.cancel();
    assert_eq!(events.next().await, None, "no event, so not completed");
}

#[tokio::test]
async fn a_stream_goes_on_after_the_event_that_the_client_has_seen() {
    let url = server().await;
    let resumed = |query: &str, last: &str| {
        let request = post(&client(), &url, query).header("last-event-id", last);
        request.send()
    };
    let all = "subscription { numbered(to: 4) }";
    for (last, expected) in [("2", &["3", "4"][..]), ("nonsense", &["1", "2", "3", "4"])] {
        let mut events = Events::of(resumed(all, last).await.unwrap());
        for id in expected {
            let event = events.next().await.unwrap();
            assert_eq!(event.id.as_deref(), Some(*id));
            assert_eq!(event.json()["data"]["numbered"].to_string(), *id);
        }
        events.completes().await;
    }
    // Two sequences in one stream: no number says where both are.
    let two = "subscription { a: numbered(to: 1) b: numbered(to: 1) }";
    let mut events = Events::of(resumed(two, "1").await.unwrap());
    for _ in 0..2 {
        let event = events.next().await.unwrap();
        assert_eq!((event.name.as_str(), event.id), ("next", None));
    }
    events.completes().await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_operation_with_it() {
    let toy = Toy::default();
    let url = serve_at(&toy, settings()).await;
    let mut events = subscribe(&url, "subscription { flood }").await;
    assert!(events.result().await["data"]["flood"].is_string());
    let handles = || Arc::strong_count(&toy.flooded);
    let running = handles();
    drop(events);
    until("the operation is dropped", || handles() < running).await;
}

/// A socket that has asked for a subscription, and reads nothing.
async fn asked(address: SocketAddr, query: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let body = json!({"query": query}).to_string();
    let request = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\naccept: {EVENTS}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_state_and_no_growing_queue() {
    const LAST: i32 = 20_000;
    let toy = Toy::default();
    let address = serve(&toy, settings()).await;
    let mut socket = asked(address, "subscription { newest { number padding } }").await;
    let taken = || toy.flooded.load(Ordering::SeqCst);
    until("the first state is taken", || taken() > 0).await;
    // One state after the other, each as soon as the one before was taken: until the kernel's buffers are full.
    let mut number = 0;
    let full = async {
        while number < LAST - 1 {
            let before = taken();
            number += 1;
            toy.newest.send_replace(number);
            let next = until("the next state is taken", || taken() > before);
            if timeout(Duration::from_millis(500), next).await.is_err() {
                return;
            }
        }
    };
    full.await;
    assert!(number < LAST - 1, "not held up by who does not read");
    // What happens meanwhile is nothing to the stream.
    for number in number..=LAST {
        toy.newest.send_replace(number);
    }
    let mut numbers = Vec::new();
    let mut read = Vec::new();
    let reading = async {
        while numbers.last() != Some(&i64::from(LAST)) {
            let start = read.len();
            let count = socket.read_buf(&mut read).await.unwrap();
            assert_ne!(count, 0, "the stream ended after {:?}", numbers.last());
            // An event may have begun in the piece before.
            let from = start.saturating_sub(64);
            numbers.extend(numbers_in(&read[from..], numbers.last().copied()));
        }
    };
    timeout(DEADLINE, reading).await.expect("the newest state");
    assert!(numbers.is_sorted(), "{numbers:?}");
    let (told, most) = (numbers.len(), usize::try_from(LAST / 2).unwrap());
    assert!(told < most, "{told} of {LAST} states were told");
}

/// The numbers in a piece of the stream that are later than `last`.
fn numbers_in(piece: &[u8], last: Option<i64>) -> Vec<i64> {
    let text = String::from_utf8_lossy(piece);
    let mut numbers = Vec::new();
    for part in text.split("\"number\":").skip(1) {
        // Cut off in the middle: it is there as a whole in the next piece.
        let Some((digits, _)) = part.split_once(',') else {
            continue;
        };
        let number = digits.parse().unwrap();
        if last.is_none_or(|last| number > last) {
            numbers.push(number);
        }
    }
    numbers
}

#[tokio::test]
async fn a_signed_in_client_is_known_to_its_stream() {
    let url = server().await;
    let request = post(&client(), &url, "{ caller }").bearer_auth("user-ada");
    let mut events = Events::of(request.send().await.unwrap());
    let answer: Value = events.result().await;
    assert_eq!(answer["data"]["caller"], "user-ada");
}

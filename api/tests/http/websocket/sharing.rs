//! What many sockets have in common, and slow readers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use wharfinger::http::TransportSettings;

use super::Client;
use crate::events::Events;
use crate::http_toy::{Toy, serve, settings, until};
use crate::post_get::client;

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
    let handles = || Arc::strong_count(&toy.flooded);
    let running = handles();
    until("the stream is dropped", || handles() < running).await;
    // A few megabytes of socket buffers at most, where an unbounded queue would have gone on.
    assert!(toy.flooded.load(Ordering::SeqCst) < 32 * 1024);
}

const TICKS: &str = "subscription { ticks { number viewer } }";
const NUMBERS: &str = "subscription { ticks { number } }";

/// Waits until no execution of `ticks` runs any more.
async fn nothing_ticks(toy: &Toy) {
    until("nothing runs", || toy.ticks.receiver_count() == 0).await;
}

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
    first.subscribe("2", NUMBERS).await;
    assert_eq!(first.tick().await.0, 9);
    assert_eq!(watched(), 3);
    toy.ticks.send_replace(10);
    for (client, _) in &mut clients {
        assert_eq!(client.tick().await.0, 10);
    }

    // The last one takes it along.
    drop((first, clients));
    nothing_ticks(&toy).await;
}

#[tokio::test]
async fn streams_of_events_share_with_sockets_and_leave_out_what_their_clients_have_seen() {
    let toy = Toy::default();
    let address = serve(&toy, settings()).await;
    let mut socket = Client::ready_as(address, "user-ada").await;
    socket.subscribe("1", NUMBERS).await;
    assert_eq!(socket.tick().await.0, 0);
    let stream = async |last: &str| {
        let request = client()
            .post(format!("http://{address}/graphql"))
            .header("accept", "text/event-stream")
            .header("last-event-id", last)
            .bearer_auth("user-ada")
            .json(&json!({"query": NUMBERS}));
        Events::of(request.send().await.unwrap())
    };
    let mut streams = [stream("").await, stream("0").await];
    let first = streams[0].next().await.unwrap();
    assert_eq!(first.id.as_deref(), Some("0"));
    toy.ticks.send_replace(1);
    assert_eq!(socket.tick().await.0, 1);
    for stream in &mut streams {
        let event = stream.next().await.unwrap();
        assert_eq!(event.id.as_deref(), Some("1"));
        assert_eq!(event.json()["data"]["ticks"]["number"], 1);
    }
    assert_eq!(toy.watched.load(Ordering::SeqCst), 1);
    // Whoever began it may leave the others to it, and the last one takes it along.
    drop(socket);
    toy.ticks.send_replace(2);
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().id.as_deref(), Some("2"));
    }
    drop(streams);
    nothing_ticks(&toy).await;
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

//! The operations of a socket.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::{Client, server};
use crate::http_toy::{Toy, serve, settings};

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
        assert_eq!(client.refused("1").await, "BAD_REQUEST");
    }
    client.subscribe("1", "subscription { forbidden }").await;
    let message = client.hear().await;
    assert_eq!(message["type"], "next");
    let code = &message["payload"]["errors"][0]["extensions"]["code"];
    assert_eq!(code, "FORBIDDEN");
    assert_eq!(client.hear().await["type"], "complete");
}

#[tokio::test]
async fn ping_is_answered_before_and_after_the_acknowledgement() {
    let mut client = Client::connect(server().await).await;
    client.say(json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
    let init = json!({"type": "connection_init", "payload": null});
    client.say(init).await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    client.say(json!({"type": "pong"})).await;
    let with_payload = |name| json!({"type": name, "payload": {"at": 1}});
    client.say(with_payload("ping")).await;
    assert_eq!(client.hear().await, with_payload("pong"));
}

#[tokio::test]
async fn completing_one_operation_leaves_the_others() {
    let toy = Toy::default();
    let mut client = Client::ready(serve(&toy, settings()).await).await;
    let query = "subscription { untilReleased }";
    client.subscribe("gone", query).await;
    for id in ["gone", "never was"] {
        client.say(json!({"id": id, "type": "complete"})).await;
    }
    client.subscribe("stays", query).await;
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
    let toy = Toy::default();
    let mut client = Client::ready(serve(&toy, settings()).await).await;
    for id in ["1", "2", "3"] {
        // They tell one thing, which shows that they run, and then nothing.
        let ticks = "subscription { ticks { number } }";
        client.subscribe(id, ticks).await;
        assert_eq!(client.hear().await["id"], id);
    }
    let looked_up = || toy.looked_up.load(Ordering::SeqCst);
    assert_eq!(looked_up(), 3);
    client.subscribe("4", "subscription { silence }").await;
    assert_eq!(client.refused("4").await, "LIMIT_EXCEEDED");
    assert_eq!(looked_up(), 3, "nobody was looked up for it");
    client.say(json!({"id": "1", "type": "complete"})).await;
    client.subscribe("4", "{ hello }").await;
    assert_eq!(client.hear().await["type"], "next");
}

#[tokio::test]
async fn the_gate_may_refuse_one_operation() {
    let mut client = Client::ready(server().await).await;
    let payload = json!({"query": "query Refused { hello }", "operationName": "Refused"});
    let subscribe = json!({"id": "1", "type": "subscribe", "payload": payload});
    client.say(subscribe).await;
    assert_eq!(client.refused("1").await, "RATE_LIMITED");
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
        client.introduce(token).await;
        assert_eq!(client.closed().await.0, code);
    }
    let mut client = Client::ready_as(address, "Bearer user-ada").await;
    client.subscribe("1", "{ caller }").await;
    assert_eq!(client.hear().await["payload"]["data"]["caller"], "user-ada");
}

#[tokio::test]
async fn what_runs_on_one_socket_has_a_bound_in_bytes() {
    let mut client = Client::ready(server().await).await;
    // Two of them are more than one message may have.
    let long = format!("subscription {{ silence }} #{}", "x".repeat(2500));
    client.subscribe("1", &long).await;
    client.subscribe("2", &long).await;
    assert_eq!(client.refused("2").await, "LIMIT_EXCEEDED");
    client.subscribe("3", "{ hello }").await;
    assert_eq!(client.hear().await["type"], "next");
    assert_eq!(client.hear().await["type"], "complete");
    // What has ended counts no more.
    client.say(json!({"id": "1", "type": "complete"})).await;
    let long = long.replace("subscription { silence }", "{ hello }");
    client.subscribe("2", &long).await;
    assert_eq!(client.hear().await["type"], "next");
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
        assert_eq!(client.refused("1").await, code);
    }
    assert_eq!(toy.looked_up.load(Ordering::SeqCst), 0);
    client.subscribe("1", "{ hello }").await;
    assert_eq!(client.hear().await["type"], "next");
    assert_eq!(toy.looked_up.load(Ordering::SeqCst), 1);
}

//! Bounds of bodies, messages, batches and operations: a gateway obeys its settings.

use std::io::ErrorKind;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::graphql::Client;
use crate::support::socket::Subscription;
use crate::support::soon;
use crate::support::world::World;

const QUERY: &str = "{ __typename }";

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

#[tokio::test]
async fn a_batch_is_executed_where_a_setting_lets_it_and_has_a_bound() {
    let mut world = World::embedded();
    let batch = |length| Value::from(vec![json!({"query": QUERY}); length]).to_string();
    for (setting, length, refused) in [
        ("0", 1, Some("BAD_REQUEST")),
        ("2", 2, None),
        ("2", 3, Some("LIMIT_EXCEEDED")),
    ] {
        world.set("WHARFINGER_LIMITS__REQUESTS_PER_BATCH", setting);
        let gateway = world.gateway().await;
        let (status, answer) = gateway.anonymous().send_text(batch(length)).await;
        if let Some(refused) = refused {
            assert_eq!(status, 400, "{answer}");
            assert_eq!(code(&answer), refused);
        } else {
            let one = json!({"data": {"__typename": "Query"}});
            assert_eq!(answer, json!([one, one]));
        }
    }
}

#[tokio::test]
async fn a_document_that_was_sent_with_its_hash_is_known_by_it_until_a_setting_forbids() {
    let mut world = World::embedded();
    let token = world.user("ada", &[]);
    let hash = hex::encode(Sha256::digest(QUERY));
    let named = json!({"persistedQuery": {"version": 1, "sha256Hash": hash}});
    let ask = async |client: &Client, body: Value| client.send_text(body.to_string()).await.1;
    for (entries, kept) in [("10", true), ("0", false)] {
        world.set("WHARFINGER_PERSISTED_QUERIES__ENTRIES", entries);
        let gateway = world.gateway().await;
        let client = gateway.client(&token);
        let unknown = ask(&client, json!({"extensions": named})).await;
        let sent = ask(&client, json!({"query": QUERY, "extensions": named})).await;
        let again = ask(&client, json!({"extensions": named})).await;
        if kept {
            assert_eq!(code(&unknown), "PERSISTED_QUERY_NOT_FOUND", "{unknown}");
            assert_eq!(sent["data"]["__typename"], "Query");
            assert_eq!(again["data"]["__typename"], "Query");
        } else {
            for refused in [unknown, sent, again] {
                assert_eq!(code(&refused), "PERSISTED_QUERY_NOT_SUPPORTED", "{refused}");
            }
        }
    }
}

#[tokio::test]
async fn bodies_messages_and_operations_have_the_bounds_that_are_set() {
    let mut world = World::embedded();
    let token = world.user("ada", &[]);
    world.set("WHARFINGER_LIMITS__REQUEST_BODY", "1000");
    world.set("WHARFINGER_LIMITS__OPERATIONS_PER_SOCKET", "1");
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    let long = format!("{QUERY} #{}", "x".repeat(1000));
    let (status, answer) = client.send(&long, json!({})).await;
    assert_eq!(status, 413, "{answer}");
    assert_eq!(code(&answer), "LIMIT_EXCEEDED");

    let balance = "subscription { balanceChanged { total } }";
    let mut subscription = Subscription::start(&client, balance, json!({})).await;
    assert!(subscription.next().await.is_some());
    let refusal = subscription.operation("2", balance).await;
    assert_eq!(refusal["type"], "error", "{refusal}");
    let message = refusal["payload"][0]["message"].as_str().unwrap();
    assert!(message.contains("at most 1 operations"), "{message}");
    subscription.subscribe("2", json!({"query": long})).await;
    assert_eq!(subscription.closed().await, 1009);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_takes_none_of_its_answers_is_dropped() {
    let mut world = World::embedded();
    world.set("WHARFINGER_WEBSOCKET__SEND_TIMEOUT", "1s");
    let gateway = world.gateway().await;
    let mut socket = TcpStream::connect(&gateway.address).await.unwrap();
    let request = format!(
        "GET /schema.graphql HTTP/1.1\r\nhost: {}\r\n\r\n",
        gateway.address
    );
    // It asks and asks and reads nothing, until the gateway reads no more of it either; then that gives it up.
    let failed = async {
        loop {
            if let Err(error) = socket.write_all(request.as_bytes()).await {
                return error.kind();
            }
        }
    };
    let failed = soon("the connection ends", failed).await;
    let dropped = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(dropped.contains(&failed), "{failed}");
    let another = gateway.anonymous();
    assert!(another.get("/schema.graphql").await.status().is_success());
}

//! Answers that are longer than they may be: refused on every transport, and never in memory whole.

use reqwest::StatusCode;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use crate::events::Events;
use crate::support::books::database;
use crate::support::graphql::Client;
use crate::support::images::pushed;
use crate::support::process::Process;
use crate::support::socket::Subscription;
use crate::support::world::World;

/// Ports of the one image, ranges with long names: each of its lists is some 18 kB.
const PORTS: usize = 1000;

/// What an answer may have where that is not all that is tested.
const MOST: &str = "1000000";

/// Memory that a request may take for the values of such an answer and its text; whole, they would take some ten times as much.
const GROWTH: u64 = 30 << 20;

/// Asks for the ports so many times.
fn document(times: usize) -> String {
    let ask = "images(first: 1) { nodes { exposedPorts } }";
    let fields: Vec<String> = (0..times).map(|n| format!("a{n}: {ask}")).collect();
    format!("query {{ {} }}", fields.join(" "))
}

/// Lets documents be of any size, so that only an answer can be what is too long.
fn any_document(world: &mut World) {
    for limit in ["ALIASES", "FIELDS", "DIRECTIVES", "TOKENS"] {
        world.set(&format!("WHARFINGER_LIMITS__{limit}"), "0");
    }
}

/// A gateway whose user has an image with very many ports.
async fn with_ports(world: &World) -> (Process, Client) {
    let (gateway, client) = world.serve_to("ada").await;
    let job = client.pull(&pushed(world, 100).await).await;
    client.succeeded(&job).await;
    let ports = (0..PORTS).map(|port| format!("{}-65535/sctp", 10_000 + port));
    let ports: Vec<String> = ports.collect();
    let db = database(world).await;
    let set = "UPDATE engine_images SET exposed_ports = ?";
    let ports = serde_json::to_string(&ports).unwrap();
    let set = Statement::from_sql_and_values(db.get_database_backend(), set, [ports.into()]);
    assert_eq!(db.execute_raw(set).await.unwrap().rows_affected(), 1);
    (gateway, client)
}

fn refused(what: &str, answer: &Value, limit: &str) {
    let error = &answer["errors"][0];
    let code = &error["extensions"]["code"];
    let length = answer.to_string().len();
    assert_eq!(code, "LIMIT_EXCEEDED", "{what}: {length}");
    assert_eq!(answer["errors"].as_array().unwrap().len(), 1, "{what}");
    let message = error["message"].as_str().unwrap();
    for part in ["limits.answer_bytes", limit, "first"] {
        assert!(message.contains(part), "{what}: {message}");
    }
    assert_eq!(answer.get("data").unwrap_or(&Value::Null), &Value::Null);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused_before_it_is_in_memory() {
    let mut world = World::embedded();
    any_document(&mut world);
    world.set("WHARFINGER_LIMITS__ANSWER_BYTES", MOST);
    let (gateway, client) = with_ports(&world).await;
    // Within the limit, so that what any request takes is there already.
    let answer = client.ask(&document(20), json!({})).await;
    let ports = answer["a19"]["nodes"][0]["exposedPorts"].as_array();
    assert_eq!(ports.unwrap().len(), PORTS);
    let before = gateway.most_resident();
    let (_, answer) = client.send(&document(500), json!({})).await;
    let grown = gateway.most_resident().saturating_sub(before);
    refused("over HTTP", &answer, MOST);
    assert!(grown < GROWTH, "{grown} bytes");
    // Fields that are left to the library, which resolves them at once.
    let ask = "images(first: 1) { nodes { host { name } exposedPorts @include(if: true) } }";
    let fields: Vec<String> = (0..300).map(|n| format!("a{n}: {ask}")).collect();
    let document = format!("{{ {} }}", fields.join(" "));
    let (_, answer) = client.send(&document, json!({})).await;
    refused("fields that wait", &answer, MOST);
    let grown = gateway.most_resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} bytes");
}

#[tokio::test]
async fn every_transport_refuses_an_answer_that_is_too_long() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__ANSWER_BYTES", "10000");
    world.set("WHARFINGER_LIMITS__REQUESTS_PER_BATCH", "2");
    let (_gateway, client) = with_ports(&world).await;
    let query = document(1);
    let limit = "10000";
    let (status, answer) = client.send(&query, json!({})).await;
    refused("POST", &answer, limit);
    assert_eq!(status, StatusCode::OK, "it was executed");
    refused("GET", &client.query_by_get(&query).await, limit);

    let short = "{ viewer { name } }";
    let batch = json!([{"query": short}, {"query": query}]);
    let (_, answer) = client.send_text(batch.to_string()).await;
    assert_eq!(answer[0]["data"]["viewer"]["name"], "ada", "{answer}");
    refused("batch", &answer[1], limit);

    let mut socket = Subscription::start(&client, &query, json!({})).await;
    refused("WebSocket", &socket.answer().await, limit);

    let events = client.with_header("accept", "text/event-stream");
    let mut events = Events::of(events.stream(&query, json!({})).await);
    refused("events", &events.next().await.unwrap().json(), limit);

    // What changes something is done, and the answer says so.
    let images = "{ images(first: 1) { nodes { id } } }";
    let image = client.ask(images, json!({})).await["images"]["nodes"][0]["id"].take();
    let remove = "mutation($input: RemoveImageInput!) {
        removeImage(input: $input) { job { image { exposedPorts } } }
    }";
    let input = json!({"input": {"imageId": image}});
    let (_, answer) = client.send(remove, input).await;
    refused("a mutation", &answer, limit);
    assert_eq!(answer["data"], Value::Null);
    assert_eq!(answer["errors"][0]["path"], json!(["removeImage"]));
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("was executed"), "{message}");
    let jobs = "{ jobs(filter: {kinds: [REMOVE_IMAGE]}) { totalCount } }";
    assert_eq!(client.ask(jobs, json!({})).await["jobs"]["totalCount"], 1);
}

#[tokio::test]
async fn the_limit_of_answers_can_be_turned_off() {
    let mut world = World::embedded();
    world.set("WHARFINGER_LIMITS__ANSWER_BYTES", "0");
    any_document(&mut world);
    let (_gateway, client) = with_ports(&world).await;
    let answer = client.ask(&document(30), json!({})).await;
    assert_eq!(answer.as_object().unwrap().len(), 30);
}

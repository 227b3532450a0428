//! The life of an image, from `pullImage` to the refund, in both shapes.

use serde_json::{Value, json};
use wharfinger_jobs::testing::image::TestImage;

use crate::support::books;
use crate::support::graphql::{Client, id};
use crate::support::images::downloads;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::servers::{Server, random_layer, unique_name};
use crate::support::socket::Subscription;
use crate::support::world::World;

/// Bytes of the two layers' files.
const LARGE: usize = 9_000_000;
const SMALL: usize = 123_456;

#[tokio::test]
async fn one_process_pulls_reports_charges_and_refunds() {
    let world = World::embedded();
    let (_gateway, client) = world.serve_to("ada").await;
    Box::pin(life_of_an_image(&world, &client, &client)).await;
}

#[tokio::test]
async fn a_fleet_pulls_reports_on_any_gateway_charges_and_refunds() {
    let world = World::fleet(Server::Postgres).await;
    let (_worker, _here, client) = world.work_for("ada").await;
    let there = world.gateway().await;
    let watcher = there.client(client.token.as_deref().unwrap());
    Box::pin(life_of_an_image(&world, &client, &watcher)).await;
}

/// `watcher` is the same user, perhaps on another gateway.
async fn life_of_an_image(world: &World, client: &Client, watcher: &Client) {
    let registry = RegistryProxy::start(&world.registry.address, 3_000_000).await;
    let name = unique_name();
    let mut image = TestImage::new(vec![random_layer(LARGE), random_layer(SMALL)]);
    image.exposed_ports = vec!["6379/tcp".to_owned(), "80/tcp".to_owned()];
    let pushed = world.registry.push(&name, "v1", &image).await;
    let reference = format!("{}/{name}:v1", registry.address);

    let balances = "subscription { balanceChanged { available held total } }";
    let mut balances = Subscription::start(watcher, balances, json!({})).await;
    let full = json!({"available": "1000", "held": "0", "total": "1000"});
    assert_eq!(balances.next().await, Some(full));
    let changes = "subscription { jobUpdated { id state } }";
    let mut jobs = Subscription::start(watcher, changes, json!({})).await;
    // Subscribing is not acknowledged: a change after it may only be waited for once it is known to be listening.
    let missing = format!("{}/{name}:nothing", world.registry.address);
    let missing = client.pull(&missing).await;
    jobs.next_where("the missing image is told", |job| job["id"] == missing)
        .await;
    let missing = client.ended(&missing).await;
    assert_eq!(missing["error"]["code"], "IMAGE_NOT_FOUND");

    let job = client.pull(&reference).await;
    let mut progress = Subscription::progress(watcher, &job).await;
    let snapshot = progress.next().await.unwrap();
    assert_eq!(snapshot["job"]["id"], job, "the snapshot comes first");
    let middle = progress.next_where("bytes have arrived", downloads).await;
    assert_eq!(middle["phase"], "DOWNLOADING", "{middle}");
    let mut late = Subscription::progress(client, &job).await;
    // On another gateway the worker itself says how far it is; only if it is too slow, what was saved comes first.
    let saved = late.next().await.unwrap();
    assert_eq!(saved["state"], "RUNNING", "{saved}");
    let level = |event: &Value| event["sequence"].as_i64() >= middle["sequence"].as_i64();
    let joined = if level(&saved) {
        saved.clone()
    } else {
        late.next_where("the late one is level", level).await
    };
    assert!(joined["total"].as_u64() > Some(LARGE as u64), "{joined}");
    assert!(downloads(&joined), "{joined}");
    registry.open();

    let mut events = vec![snapshot, middle];
    events.extend(progress.rest().await);
    adds_up(&events);
    let mut events = vec![joined];
    events.extend(late.rest().await);
    adds_up(&events);
    let end = json!({"id": job, "state": "SUCCEEDED"});
    jobs.next_where("the job is done", |event| *event == end)
        .await;

    let done = client.succeeded(&job).await;
    let image = client.ask(IMAGE, json!({"id": done["image"]["id"]})).await["image"].take();
    let charge = image["charge"].clone();
    assert_eq!(books::micro(&charge), image["size"].as_i64().unwrap());
    let expected = json!({
        "id": done["image"]["id"], "reference": reference, "familiarName": reference,
        "registry": registry.address, "repository": name, "tag": "v1",
        "digest": pushed.digest, "imageId": pushed.config_digest,
        "size": LARGE + SMALL, "sizeMegabytes": 9.1, "exposedPorts": ["80/tcp", "6379/tcp"],
        "platform": "linux/amd64", "visibility": "PRIVATE", "state": "HELD", "releasedAt": null,
        "charge": "9.123456", "host": {"name": "one"}, "pulledAt": image["pulledAt"],
    });
    assert_eq!(image, expected);
    assert!(image["pulledAt"].as_str().unwrap().ends_with('Z'));
    let paid = json!({"available": "990.876544", "held": "0", "total": "990.876544"});
    assert_eq!(client.balance().await, paid);
    balances
        .next_where("the charge is told", |balance| *balance == paid)
        .await;
    every_id_is_found(client, &done).await;

    removed(client, &id(&image)).await;
    let refunded = |balance: &Value| balance["available"] == "1000";
    balances.next_where("the refund is told", refunded).await;
    books::in_order(world, client, 1, 1).await;
}

/// Lets go of an image.
async fn removed(client: &Client, image_id: &str) {
    let payload = client.remove(image_id).await;
    assert_eq!(payload["userErrors"], json!([]));
    let removed = client.succeeded(&id(&payload["job"])).await;
    assert_eq!(removed["kind"], "REMOVE_IMAGE");
    let image = client.ask(IMAGE, json!({"id": image_id})).await["image"].take();
    assert_eq!(image["state"], "RELEASED");
    assert_ne!(image["releasedAt"], Value::Null);
    let images = "{ images { totalCount nodes { id } } }";
    let images = client.ask(images, json!({})).await["images"].take();
    assert_eq!(images, json!({"totalCount": 0, "nodes": []}));
}

const IMAGE: &str = "query($id: ID!) { image(id: $id) {
    id reference familiarName registry repository tag digest imageId size sizeMegabytes exposedPorts platform
    visibility state releasedAt charge host { name } pulledAt
} }";

/// What holds for every stream of progress, from wherever it was watched.
fn adds_up(events: &[Value]) {
    let number = |event: &Value, field: &str| event[field].as_i64().unwrap_or_default();
    let sequence = |event: &Value| number(event, "sequence");
    assert!(events.is_sorted_by(|one, next| sequence(one) < sequence(next)));
    assert!(events.is_sorted_by_key(|event| number(event, "downloaded")));
    for event in events {
        let layers = event["layers"].as_array().unwrap();
        let sum = |field| layers.iter().map(|layer| number(layer, field)).sum::<i64>();
        assert_eq!(sum("total"), number(event, "total"), "{event}");
        assert_eq!(sum("downloaded"), number(event, "downloaded"), "{event}");
        let there = number(event, "downloaded") + number(event, "reused");
        assert!(there <= number(event, "total"), "{event}");
    }
    let last = events.last().unwrap();
    assert_eq!(last["state"], "SUCCEEDED", "{last}");
    assert_eq!(last["phase"], "DONE", "{last}");
    assert_eq!(number(last, "downloaded"), number(last, "total"), "{last}");
    let layers = last["layers"].as_array().unwrap().iter();
    let states: Vec<_> = layers.map(|layer| &layer["state"]).collect();
    assert_eq!(states, ["DONE", "DONE"], "{last}");
}

/// `node` and `nodes` find everything that has an id, and null where there is nothing.
async fn every_id_is_found(client: &Client, job: &Value) {
    let query = "{ viewer { id ledger(first: 1) { nodes { id } } } hosts { nodes { id } } }";
    let found = client.ask(query, json!({})).await;
    let ids = [
        id(job),
        id(&job["image"]),
        id(&job["host"]),
        id(&found["viewer"]),
        id(&found["viewer"]["ledger"]["nodes"][0]),
    ];
    let types = ["Job", "Image", "Host", "User", "LedgerEntry"];
    for (id, kind) in ids.iter().zip(types) {
        let query = "query($id: ID!) { node(id: $id) { __typename id } }";
        let node = client.ask(query, json!({"id": id})).await;
        assert_eq!(node["node"], json!({"__typename": kind, "id": id}));
    }
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename } }";
    let some = json!({"ids": [ids[1], "nothing", ids[0]]});
    let nodes = client.ask(query, some).await;
    let expected = json!([{"__typename": "Image"}, null, {"__typename": "Job"}]);
    assert_eq!(nodes["nodes"], expected);
}

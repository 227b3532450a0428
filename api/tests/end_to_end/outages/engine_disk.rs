//! The engine's disk is full: pulls fail and cost nothing, removals work, and pulls succeed once there is space.

use serde_json::{Value, json};

use crate::support::books;
use crate::support::graphql::id;
use crate::support::images::pushed;
use crate::support::own_server::DiskServer;
use crate::support::world::World;

fn is_full(attempt: &Value) -> bool {
    attempt["error"]["code"] == "DISK_FULL"
}

#[tokio::test]
async fn an_engine_without_space_costs_nothing_and_removes_images() {
    let server = DiskServer::start("engine", 64);
    let mut world = World::embedded();
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "10");
    world.set("WHARFINGER_RETRY__MAX_DELAY", "500ms");
    let token = world.user("ada", &[]);
    let gateway = world.serve(&server.docker_host()).await;
    let client = World::client(&gateway, &token);
    let held = client.pull(&pushed(&world, 3_000_000).await).await;
    let held = client.succeeded(&held).await;
    assert_eq!(client.balance().await["total"], "997");

    server.disk.fill();
    let large = client.pull(&pushed(&world, 5_000_000).await).await;
    let dead = client.ended(&large).await;
    assert_eq!(dead["state"], "DEAD", "{dead}");
    assert_eq!(dead["error"]["code"], "DISK_FULL", "{dead}");
    assert!(
        dead["attempts"].as_array().unwrap().iter().all(is_full),
        "{dead}"
    );
    let balance = json!({"available": "997", "held": "0", "total": "997"});
    assert_eq!(client.balance().await, balance);

    let removal = client.remove(&id(&held["image"])).await;
    client.succeeded(&id(&removal["job"])).await;
    let balance = json!({"available": "1000", "held": "0", "total": "1000"});
    assert_eq!(client.balance().await, balance);

    // Tried again while it is full, it succeeds by itself once there is space.
    let retry =
        "mutation($id: ID!) { retryJob(input: {jobId: $id}) { job { id } userErrors { code } } }";
    let retried = client.ask(retry, json!({"id": large})).await;
    assert_eq!(retried["retryJob"]["userErrors"], json!([]), "{retried}");
    client
        .job_when(&large, "finds the disk full again", |job| {
            job["attempts"]
                .as_array()
                .unwrap()
                .get(10)
                .is_some_and(is_full)
        })
        .await;
    server.disk.free();
    client.succeeded(&large).await;
    assert_eq!(client.balance().await["total"], "995");
    books::in_order(&world, &client, 2, 1).await;
}

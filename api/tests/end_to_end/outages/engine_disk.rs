//! The engine's disk is full: pulls fail and cost nothing, removals work, and pulls succeed once there is space.

use serde_json::{Value, json};

use crate::support::books;
use crate::support::graphql::{done, id};
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
    let gateway = world.serve_at(&server.docker_host()).await;
    let client = gateway.client(&token);
    let held = client.pull(&pushed(&world, 3_000_000).await).await;
    let held = client.succeeded(&held).await;
    assert_eq!(client.balance().await["total"], "997");

    server.disk.fill();
    let large = client.pull(&pushed(&world, 5_000_000).await).await;
    let dead = client.ended(&large).await;
    assert_eq!(dead["state"], "DEAD", "{dead}");
    assert_eq!(dead["error"]["code"], "DISK_FULL", "{dead}");
    let mut attempts = dead["attempts"].as_array().unwrap().iter();
    assert!(attempts.all(is_full), "{dead}");
    let balance = json!({"available": "997", "held": "0", "total": "997"});
    assert_eq!(client.balance().await, balance);

    let removal = client.remove(&id(&held["image"])).await;
    client.succeeded(&id(&removal["job"])).await;
    let balance = json!({"available": "1000", "held": "0", "total": "1000"});
    assert_eq!(client.balance().await, balance);

    // Tried again while it is full, it succeeds by itself once there is space.
    done(&client, "retryJob", json!({"jobId": large}), "").await;
    let again = |job: &Value| is_full(&job["attempts"][10]);
    client.job_when(&large, "finds it full again", again).await;
    server.disk.free();
    client.succeeded(&large).await;
    assert_eq!(client.balance().await["total"], "995");
    books::in_order(&world, &client, 2, 1).await;
}

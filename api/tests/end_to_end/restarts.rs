//! A worker that is killed and started again goes on at once with what it had: it does not wait for its own leases.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::books;
use crate::support::graphql::Client;
use crate::support::images::stuck;
use crate::support::servers::Server;
use crate::support::world::World;

/// As long as nobody is to wait: what the setting is by default.
const LEASE: &str = "15s";

/// How long a worker that runs again may take to begin the next attempt; on an idle machine it is a fraction of a second.
const AT_MOST: Duration = Duration::from_secs(5);

/// Waits for the second attempt, which is to begin soon.
async fn begins_again(shape: &str, client: &Client, job: &str, since: Instant) {
    client
        .job_when(job, "the second attempt runs", |job| job["attempt"] == 2)
        .await;
    let took = since.elapsed();
    println!("{shape}: the second attempt runs {took:?} after the restart");
    assert!(took < AT_MOST, "{took:?}");
}

fn two_attempts(done: &Value) {
    let attempts = done["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{done}");
    assert_eq!(attempts[0]["error"]["code"], "WORKER_LOST", "{done}");
}

#[tokio::test]
async fn one_process_that_is_started_again_does_not_wait_for_its_own_lease() {
    let mut world = World::embedded();
    world.set("WHARFINGER_WORKER__LEASE", LEASE);
    let (mut process, client) = world.serve_to("ada").await;
    let (registry, job, _progress) = stuck(&world, &client).await;
    process.crash();

    let process = world.serve().await;
    let client = process.client(&client.token.unwrap());
    begins_again("embedded", &client, &job, Instant::now()).await;
    registry.open();
    two_attempts(&client.succeeded(&job).await);
    books::in_order(&world, &client, 1, 0).await;
}

#[tokio::test]
async fn a_worker_that_is_started_again_does_not_wait_for_its_own_lease() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_WORKER__LEASE", LEASE);
    let (mut worker, _gateway, client) = world.work_for("ada").await;
    let (registry, job, mut progress) = stuck(&world, &client).await;
    worker.crash();

    let _worker = world.worker().await;
    begins_again("fleet", &client, &job, Instant::now()).await;
    registry.open();
    two_attempts(&client.succeeded(&job).await);
    // Those who watch are told what is waited for, and no number comes twice.
    let events = progress.rest().await;
    let waits = |event: &Value| event["phase"] == "WAITING" && event["state"] == "RETRYING";
    assert!(events.iter().any(waits), "{events:#?}");
    let number = |event: &Value| event["sequence"].as_i64().unwrap();
    let rises = events.is_sorted_by(|one, next| number(one) < number(next));
    assert!(rises, "{events:#?}");
    books::in_order(&world, &client, 1, 0).await;
}

/// Two workers of one host and one data directory, by mistake or not: neither takes what the other one has.
#[tokio::test]
async fn a_worker_that_starts_beside_another_frees_nothing_of_it() {
    let world = World::fleet(Server::Postgres).await;
    let (_first, _gateway, client) = world.work_for("ada").await;
    let (registry, job, _progress) = stuck(&world, &client).await;
    let _second = world.worker().await;
    registry.open();
    let done = client.succeeded(&job).await;
    assert_eq!(done["attempts"].as_array().unwrap().len(), 1, "{done}");
    books::in_order(&world, &client, 1, 0).await;
}

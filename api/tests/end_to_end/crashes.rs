//! kill -9 at the worst moments: what was accepted ends well, and is paid for once.

use std::future::Future;

use serde_json::json;
use wharfinger_jobs::testing::image::TestImage;

use crate::support::engine_proxy::EngineProxy;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::servers::{Server, engine, random_layer, unique_name};
use crate::support::socket::Subscription;
use crate::support::world::World;
use crate::support::{books, until};

/// Pushes an image of so many bytes and returns its name and tag.
pub(crate) async fn push(world: &World, bytes: usize) -> String {
    let name = unique_name();
    let image = TestImage::new(vec![random_layer(bytes)]);
    world.registry.push(&name, "v1", &image).await;
    format!("{name}:v1")
}

/// The reference of such an image.
pub(crate) async fn pushed(world: &World, bytes: usize) -> String {
    let image = push(world, bytes).await;
    format!("{}/{image}", world.registry.address)
}

#[tokio::test]
async fn a_fleet_carries_out_what_a_gateway_accepted_just_before_it_was_killed() {
    let world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &[]);
    let worker = world.worker().await;
    let mut gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let reference = pushed(&world, 100_000).await;
    client.online_host("one").await;

    let job = client.pull(&reference).await;
    gateway.crash();

    let db = books::database(&world).await;
    books::all_succeed(&db).await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.succeeded(&job).await;
    books::in_order(&world, &client, 1, 0).await;
    drop(worker);
}

#[tokio::test]
async fn one_process_carries_out_what_it_accepted_just_before_it_was_killed() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let mut gateway = world.serve(&engine(1)).await;
    let client = World::client(&gateway, &token);
    let reference = pushed(&world, 100_000).await;

    let job = client.pull(&reference).await;
    gateway.crash();

    let gateway = world.serve(&engine(1)).await;
    let client = World::client(&gateway, &token);
    client.succeeded(&job).await;
    books::in_order(&world, &client, 1, 0).await;
}

#[tokio::test]
async fn a_pull_whose_worker_is_killed_in_the_middle_is_taken_over_on_postgres() {
    taken_over_in_the_middle(Server::Postgres).await;
}

#[tokio::test]
async fn a_pull_whose_worker_is_killed_in_the_middle_is_taken_over_on_mariadb() {
    taken_over_in_the_middle(Server::MariaDb).await;
}

async fn taken_over_in_the_middle(server: Server) {
    let world = World::fleet(server).await;
    let token = world.user("ada", &[]);
    let mut first = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let registry = RegistryProxy::start(&world.registry.address, 4_000_000).await;
    let image = push(&world, 12_000_000).await;

    let job = client.pull(&format!("{}/{image}", registry.address)).await;
    let mut progress = Subscription::progress(&client, &job).await;
    progress
        .next_where("bytes have arrived", |event| {
            event["downloaded"].as_u64() > Some(0)
        })
        .await;
    first.crash();
    registry.open();
    let second = world.worker().await;

    let done = client.succeeded(&job).await;
    let attempts = done["attempts"].as_array().unwrap();
    assert_eq!(attempts[0]["error"]["code"], "WORKER_LOST", "{done}");
    assert_eq!(attempts.len(), 2, "{done}");
    assert_ne!(attempts[0]["worker"], attempts[1]["worker"]);
    // Whoever watched has seen it go on with another attempt, on the same socket.
    let events = progress.rest().await;
    let last = events.last().unwrap();
    assert_eq!(last["state"], "SUCCEEDED");
    assert_eq!(last["attempt"], 2);
    books::in_order(&world, &client, 1, 0).await;
    drop(second);
}

#[tokio::test]
async fn a_fleet_settles_a_pull_once_whose_worker_was_killed_before_the_settle() {
    let world = World::fleet(Server::Postgres).await;
    let mut proxy = EngineProxy::start(&engine(1)).await;
    let mut worker = world.worker_at("one", &proxy.url).await;
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let reference = pushed(&world, 1_000_000).await;

    let job = client.pull(&reference).await;
    proxy.holds().await;
    worker.crash();
    assert_eq!(
        client.balance().await["total"],
        "1000",
        "nothing is settled"
    );

    let worker = world.worker().await;
    let done = client.succeeded(&job).await;
    assert_eq!(done["attempts"][0]["error"]["code"], "WORKER_LOST");
    assert_eq!(client.balance().await["total"], "999");
    books::in_order(&world, &client, 1, 0).await;
    drop(worker);
}

#[tokio::test]
async fn one_process_settles_a_pull_once_that_was_killed_before_the_settle() {
    let world = World::embedded();
    let mut proxy = EngineProxy::start(&engine(1)).await;
    let token = world.user("ada", &[]);
    let mut gateway = world.serve(&proxy.url).await;
    let client = World::client(&gateway, &token);
    let reference = pushed(&world, 1_000_000).await;

    let job = client.pull(&reference).await;
    proxy.holds().await;
    gateway.crash();

    let gateway = world.serve(&engine(1)).await;
    let client = World::client(&gateway, &token);
    let done = client.succeeded(&job).await;
    assert_eq!(done["attempts"][0]["error"]["code"], "WORKER_LOST");
    assert_eq!(client.balance().await["total"], "999");
    books::in_order(&world, &client, 1, 0).await;
}

#[tokio::test]
async fn every_queued_job_runs_after_redis_was_flushed() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_WORKER__CONCURRENCY", "1");
    let token = world.user("ada", &["--credits", "100000"]);
    let worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let registry = RegistryProxy::start(&world.registry.address, 1_000_000).await;
    // The first one keeps the only place of the worker, so that the others are certainly in the queue.
    let large = push(&world, 4_000_000).await;
    let mut jobs = vec![client.pull(&format!("{}/{large}", registry.address)).await];
    client
        .job_when(&jobs[0], "runs", |job| job["state"] == "RUNNING")
        .await;
    for _ in 0..10 {
        jobs.push(client.pull(&pushed(&world, 10_000).await).await);
    }
    dispatched(&world).await;

    world.redis.as_ref().unwrap().flush().await;
    registry.open();

    for job in &jobs {
        client.succeeded(job).await;
    }
    books::in_order(&world, &client, jobs.len(), 0).await;
    let query = "{ jobs(first: 50) { totalCount nodes { state } } }";
    let listed = client.ask(query, json!({})).await;
    assert_eq!(listed["jobs"]["totalCount"], jobs.len());
    drop(worker);
}

/// Waits until a job has been handed to the queue: as many wait there as run at a time, which is one.
fn dispatched(world: &World) -> impl Future<Output = ()> {
    use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
    use wharfinger_entity::{JobState, job};
    async {
        let db = books::database(world).await;
        until("jobs are in the queue", async || {
            let out = job::Entity::find()
                .filter(job::Column::State.eq(JobState::Queued))
                .filter(job::Column::DispatchedAt.is_not_null());
            (out.count(&db).await.unwrap() >= 1).then_some(())
        })
        .await;
    }
}

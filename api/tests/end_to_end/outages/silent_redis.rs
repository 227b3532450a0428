//! Connections to Redis that fall silent. Jobs go on over new ones within a bound.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use wharfinger_jobs::testing::silent_proxy::SilentProxy;

use super::scene::Scene;
use crate::support::books;
use crate::support::graphql::id;
use crate::support::images::push;
use crate::support::servers::Server;
use crate::support::world::World;

/// How long jobs may take to go on: commands have a second, and watchers look every five.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_survive_silent_connections_to_redis() {
    let (proxy, mut scene) = behind_redis().await;
    proxy.silence_open();
    scene.ends_well_within(BOUND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pulls_survive_a_redis_that_is_silent_to_everyone() {
    let (proxy, scene) = behind_redis().await;
    proxy.silence_all();
    // What is accepted meanwhile waits.
    let image = push(&scene.world, 1000).await;
    let reference = format!("{}/{image}", scene.world.registry.address);
    let waiting = scene.client.pull(&reference).await;
    scene.requests_are_answered(Duration::from_secs(6)).await;
    proxy.let_new_pass();
    let start = Instant::now();
    let begins = |job: &Value| job["attempt"].as_u64() > Some(0);
    scene.client.job_when(&waiting, "begins", begins).await;
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    scene.registry.open();
    for job in scene.jobs.iter().chain([&waiting]) {
        scene.client.succeeded(job).await;
    }
    let image = scene.client.job(&waiting).await["image"]["id"].take();
    let removal = scene.client.remove(image.as_str().unwrap()).await;
    scene.client.succeeded(&id(&removal["job"])).await;
    books::in_order(&scene.world, &scene.client, 4, 1).await;
}

async fn behind_redis() -> (SilentProxy, Scene) {
    let mut world = World::fleet(Server::Postgres).await;
    let redis = world.redis.as_ref().unwrap().url();
    let (proxy, through) = SilentProxy::of_url(&redis).await;
    world.set("REDIS_URL", &through);
    (proxy, Scene::begin(world).await)
}

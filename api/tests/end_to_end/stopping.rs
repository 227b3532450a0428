//! Stopping in an orderly way: running jobs are handed back, and cost no attempt.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;

use crate::crashes::push;
use crate::support::books;
use crate::support::graphql::Client;
use crate::support::process::Process;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

/// A fleet with a pull that is under way and goes no further for now.
struct Underway {
    world: World,
    worker: Process,
    _gateway: Process,
    client: Client,
    registry: RegistryProxy,
    job: String,
}

async fn underway(grace: &str) -> Underway {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_WORKER__GRACE", grace);
    let token = world.user("ada", &[]);
    let worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    let registry = RegistryProxy::start(&world.registry.address, 3_000_000).await;
    let image = push(&world, 9_000_000).await;
    let job = client.pull(&format!("{}/{image}", registry.address)).await;
    Subscription::progress(&client, &job)
        .await
        .next_where("bytes have arrived", |event| {
            event["downloaded"].as_u64() > Some(0)
        })
        .await;
    Underway {
        world,
        worker,
        _gateway: gateway,
        client,
        registry,
        job,
    }
}

#[tokio::test]
async fn a_worker_that_stops_hands_its_pulls_to_another_one() {
    let Underway {
        world,
        mut worker,
        _gateway,
        client,
        registry,
        job,
    } = underway("300ms").await;
    let before = client.job(&job).await;
    let second = world.worker().await;

    worker.terminate();
    let status = worker.ended().await;
    assert!(status.success(), "{status}");
    registry.open();

    let done = client.succeeded(&job).await;
    let more = |field: &str| done[field].as_i64().unwrap() - before[field].as_i64().unwrap();
    assert_eq!((more("attempt"), more("maxAttempts")), (1, 1), "{done}");
    assert_eq!(done["attempts"][0]["error"], Value::Null, "{done}");
    books::in_order(&world, &client, 1, 0).await;
    drop(second);
}

#[tokio::test]
async fn a_worker_that_stops_lets_a_pull_end_that_is_quick_enough() {
    let mut underway = underway("1h").await;
    underway.worker.terminate();
    underway.worker.logged("stopping").await;
    underway.registry.open();

    let status = underway.worker.ended().await;
    assert!(status.success(), "{status}");
    let done = underway.client.job(&underway.job).await;
    assert_eq!(
        (&done["state"], &done["attempt"]),
        (&"SUCCEEDED".into(), &1.into()),
        "{done}"
    );
    books::in_order(&underway.world, &underway.client, 1, 0).await;
}

#[tokio::test]
async fn a_worker_that_is_told_twice_ends_at_once() {
    let mut underway = underway("1h").await;
    underway.worker.terminate();
    underway.worker.logged("stopping").await;
    underway.worker.terminate();
    let status = underway.worker.ended().await;
    assert_eq!((status.code(), status.signal()), (Some(130), None));
    assert_eq!(underway.client.job(&underway.job).await["state"], "RUNNING");
}

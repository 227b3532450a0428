//! A Redis that answers and takes no writes: its memory or its disk is full.

use wharfinger_jobs::testing::small_disk::SmallDisk;

use crate::support::images::{push, pushed};
use crate::support::registry_proxy::RegistryProxy;
use crate::support::servers::{PrivateRedis, Server};
use crate::support::world::World;
use crate::support::{books, until};

/// What runs goes on, what is accepted waits, and runs by itself once Redis takes writes again.
async fn jobs_wait_for_writes(world: &World, refuse: impl AsyncFn(), allow: impl AsyncFn()) {
    let token = world.user("ada", &[]);
    let worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.online_host("one").await;
    let registry = RegistryProxy::start(&world.registry.address, 1_000_000).await;
    let image = push(world, 3_000_000).await;
    let running = client.pull(&format!("{}/{image}", registry.address)).await;
    client
        .job_when(&running, "runs", |job| job["state"] == "RUNNING")
        .await;

    refuse().await;
    let waiting = client.pull(&pushed(world, 1000).await).await;
    registry.open();
    client.succeeded(&running).await;
    assert_eq!(client.get("/readyz").await.status(), 200);

    allow().await;
    client.succeeded(&waiting).await;
    books::in_order(world, &client, 2, 0).await;
    drop(worker);
}

#[tokio::test]
async fn jobs_wait_for_a_redis_without_memory() {
    let world = World::fleet(Server::Postgres).await;
    let redis = world.redis.as_ref().unwrap();
    let set = async |memory: &str| {
        let answer = redis.ask(&format!("CONFIG SET maxmemory {memory}")).await;
        assert_eq!(answer.as_deref(), Some("+OK"));
    };
    jobs_wait_for_writes(&world, async || set("1").await, async || set("0").await).await;
}

#[tokio::test]
async fn jobs_wait_for_a_redis_without_disk() {
    let disk = SmallDisk::mount(2);
    let mut world = World::fleet(Server::Postgres).await;
    let redis = PrivateRedis::start_in(disk.path()).await;
    world.set("REDIS_URL", &redis.url());
    let save_until = async |status: &str| {
        let answer = redis.ask("CONFIG SET save \"3600 1000000\"").await;
        assert_eq!(answer.as_deref(), Some("+OK"));
        until(&format!("Redis' last save is {status}"), async || {
            redis.ask("BGSAVE").await;
            redis
                .has(&format!("rdb_last_bgsave_status:{status}"))
                .await
                .then_some(())
        })
        .await;
    };
    let refuse = async || {
        disk.fill();
        save_until("err").await;
        let refused = redis.ask("SET a b").await;
        assert!(refused.unwrap().starts_with("-MISCONF"));
    };
    let allow = async || {
        disk.free();
        save_until("ok").await;
    };
    jobs_wait_for_writes(&world, refuse, allow).await;
}

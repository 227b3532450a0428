//! A Redis that is gone, or answers and takes no writes: its memory or its disk is full.

use tokio::sync::Mutex;
use wharfinger_jobs::testing::small_disk::SmallDisk;

use crate::support::images::{pushed, stuck};
use crate::support::private_redis::PrivateRedis;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;
use crate::support::{books, until};

/// What runs goes on, what is accepted waits, and runs by itself once Redis takes writes again.
async fn jobs_wait_for_writes(world: &World, refuse: impl AsyncFn(), allow: impl AsyncFn()) {
    let (_worker, _gateway, client) = world.work_for("ada").await;
    let (registry, running, _progress) = stuck(world, &client).await;

    refuse().await;
    let waiting = client.pull(&pushed(world, 1000).await).await;
    assert_eq!(client.job(&waiting).await["held"], "300");
    // Watching begins meanwhile, too.
    let mut progress = Subscription::progress(&client, &waiting).await;
    assert_eq!(progress.next().await.unwrap()["phase"], "WAITING");
    registry.open();
    client.succeeded(&running).await;
    assert_eq!(client.get("/readyz").await.status(), 200);

    allow().await;
    client.succeeded(&waiting).await;
    assert_eq!(progress.rest().await.last().unwrap()["state"], "SUCCEEDED");
    books::in_order(world, &client, 2, 0).await;
}

#[tokio::test]
async fn jobs_wait_for_a_redis_that_is_gone() {
    let mut world = World::fleet(Server::Postgres).await;
    let redis = Mutex::new(world.redis.take().unwrap());
    let kill = async || redis.lock().await.kill();
    let start = async || redis.lock().await.up().await;
    jobs_wait_for_writes(&world, kill, start).await;
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
            let line = format!("rdb_last_bgsave_status:{status}");
            redis.has(&line).await.then_some(())
        })
        .await;
    };
    let refuse = async || {
        disk.fill();
        save_until("err").await;
        let refused = redis.ask("SET a b").await.unwrap();
        assert!(refused.starts_with("-MISCONF"), "{refused}");
    };
    let allow = async || {
        disk.free();
        save_until("ok").await;
    };
    jobs_wait_for_writes(&world, refuse, allow).await;
}

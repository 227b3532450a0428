//! Redis may be flushed or away: every accepted job still runs, with nobody's help.

use std::time::{Duration, Instant};

use wharfinger_entity::JobState;

use crate::support::images::{Repository, random_image};
use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use crate::support::{Fleet, Shape, eventually, on_every_fleet};

on_every_fleet!(
    a_flush_loses_no_job,
    a_flush_while_the_host_is_busy_delays_a_job_by_seconds,
    jobs_wait_for_redis,
);

async fn a_flush_loses_no_job(shape: Shape) {
    let redis = PrivateRedis::start().await;
    let mut fleet = Fleet::over_redis(shape, redis.url(), |_| ()).await;
    let repository = fleet.repository();
    let user = fleet.user("100").await;
    let image = random_image(50_000);
    fleet.stop_worker().await;
    let mut jobs = Vec::new();
    for tag in ["1", "2", "3", "4", "5", "6"] {
        repository.push(&fleet.registry, tag, &image).await;
        jobs.push(fleet.pull(user, &repository.tag(tag)).await.id);
    }
    fleet.handed_out(jobs[0]).await;
    redis.flush().await;
    fleet.start_worker().await;
    for id in jobs {
        let job = fleet.ended(id).await;
        assert_eq!(
            (job.state, job.attempt),
            (JobState::Succeeded, 1),
            "{job:?}"
        );
    }
    fleet.finish().await;
}

async fn a_flush_while_the_host_is_busy_delays_a_job_by_seconds(shape: Shape) {
    let redis = PrivateRedis::start().await;
    let fleet = Fleet::over_redis(shape, redis.url(), |settings| {
        settings.worker.concurrency = 1;
    });
    let fleet = fleet.await;
    let proxy = Proxy::start(&fleet.registry.address).await;
    let slow = Repository::at(&proxy.address);
    let repository = fleet.repository();
    fleet.push(&slow, "1", 400_000).await;
    fleet.push(&repository, "2", 50_000).await;
    let user = fleet.user("100").await;
    proxy.block();
    let running = fleet.pull(user, &slow.tag("1")).await.id;
    proxy.stuck().await;
    let next = fleet.pull(user, &repository.tag("2")).await.id;
    eventually("the queue has the next one", || async {
        fleet.waits_in_queue(next).await.then_some(())
    })
    .await;
    redis.flush().await;
    proxy.open();
    assert_eq!(fleet.ended(running).await.state, JobState::Succeeded);
    let free = Instant::now();
    let job = fleet.ended(next).await;
    assert_eq!((job.state, job.attempt), (JobState::Succeeded, 1));
    // It is waited for longer where the host is busy.
    let took = free.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    fleet.finish().await;
}

async fn jobs_wait_for_redis(shape: Shape) {
    let mut redis = PrivateRedis::down();
    let fleet = Fleet::over_redis(shape, redis.url(), |_| ()).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 50_000).await;
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &repository.tag("1")).await;
    redis.up().await;
    let job = fleet.ended(job.id).await;
    assert_eq!(
        (job.state, job.attempt),
        (JobState::Succeeded, 1),
        "{job:?}"
    );

    redis.kill();
    fleet.push(&repository, "2", 50_000).await;
    let job = fleet.pull(user, &repository.tag("2")).await;
    redis.up().await;
    let job = fleet.ended(job.id).await;
    assert_eq!(
        (job.state, job.attempt),
        (JobState::Succeeded, 1),
        "{job:?}"
    );
    fleet.finish().await;
}

//! Redis may be flushed or away: every accepted job still runs, with nobody's help.

use std::time::{Duration, Instant};

use wharfinger_entity::JobState;

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
    fleet.stop_worker().await;
    let tags = ["1", "2", "3", "4", "5", "6"];
    fleet.push_under(&repository, &tags, 50_000).await;
    let mut jobs = Vec::new();
    for tag in tags {
        jobs.push(fleet.pull(user, &repository.tag(tag)).await.id);
    }
    fleet.handed_out(jobs[0]).await;
    redis.flush().await;
    fleet.start_worker().await;
    for id in jobs {
        fleet.ends(id, JobState::Succeeded, 1).await;
    }
    fleet.finish().await;
}

async fn a_flush_while_the_host_is_busy_delays_a_job_by_seconds(shape: Shape) {
    let redis = PrivateRedis::start().await;
    let fleet = Fleet::over_redis(shape, redis.url(), |settings| {
        settings.worker.concurrency = 1;
    });
    let fleet = fleet.await;
    let stuck = fleet.stuck_pull().await;
    let repository = fleet.repository();
    fleet.push(&repository, "2", 50_000).await;
    let next = fleet.pull(stuck.user, &repository.tag("2")).await.id;
    eventually("the queue has the next one", || async {
        fleet.waits_in_queue(next).await.then_some(())
    })
    .await;
    redis.flush().await;
    stuck.proxy.open();
    fleet.succeeds(stuck.job).await;
    let free = Instant::now();
    fleet.ends(next, JobState::Succeeded, 1).await;
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
    fleet.ends(job.id, JobState::Succeeded, 1).await;

    redis.kill();
    fleet.push(&repository, "2", 50_000).await;
    let job = fleet.pull(user, &repository.tag("2")).await;
    redis.up().await;
    fleet.ends(job.id, JobState::Succeeded, 1).await;
    fleet.finish().await;
}

//! Workers that vanish, stop or fall behind, and registries that fall silent.

use std::time::Duration;

use wharfinger_entity::{JobErrorCode, JobState};

use crate::support::images::Repository;
use crate::support::proxy::Proxy;
use crate::support::{Fleet, Shape, eventually, on_every_database};

on_every_database!(
    a_worker_killed_in_a_pull_is_replaced,
    a_worker_killed_before_the_settle_is_replaced,
    a_worker_killed_in_a_removal_is_replaced,
    an_old_lease_cannot_settle,
    a_stalled_pull_is_tried_again,
    an_orderly_stop_uses_up_no_attempt,
);

/// A pull that is stuck in the middle of its layer.
struct StuckPull {
    fleet: Fleet,
    proxy: Proxy,
    id: String,
    job: uuid::Uuid,
}

async fn stuck_pull(fleet: Fleet) -> StuckPull {
    let proxy = Proxy::start(&fleet.registry.address).await;
    let repository = Repository::at(&proxy.address);
    let id = fleet.push(&repository, "1", 400_000).await;
    let user = fleet.user("100").await;
    proxy.block();
    let job = fleet.pull(user, &repository.tag("1")).await.id;
    fleet.downloads(job).await;
    proxy.stuck().await;
    StuckPull {
        fleet,
        proxy,
        id,
        job,
    }
}

async fn a_worker_killed_in_a_pull_is_replaced(shape: Shape) {
    let StuckPull {
        mut fleet,
        proxy,
        id,
        job,
        ..
    } = stuck_pull(Fleet::start(shape).await).await;
    fleet.kill_worker().await;
    fleet.start_worker().await;
    proxy.open();
    let job = fleet.ended(job).await;
    assert_eq!(
        (job.state, job.attempt),
        (JobState::Succeeded, 2),
        "{job:?}"
    );
    let first = &fleet.attempts(job.id).await[0];
    assert_eq!(
        first.error_code,
        Some(JobErrorCode::WorkerLost),
        "{first:?}"
    );
    assert!(fleet.engine.inspect(&id).await.is_some());
    fleet.finish().await;
}

/// The engine has the image, and nobody was told.
async fn a_worker_killed_before_the_settle_is_replaced(shape: Shape) {
    let pull = stuck_pull(Fleet::start(shape).await).await;
    let StuckPull {
        mut fleet,
        proxy,
        id,
        job,
    } = pull;
    fleet.lock_image(&id).await;
    proxy.open();
    eventually("the engine has it", || fleet.engine.id_of(&id)).await;
    fleet.kill_worker().await;
    fleet.unlock_image(&id).await;
    assert_eq!(fleet.job(job).await.state, JobState::Running);
    fleet.start_worker().await;
    let job = fleet.ended(job).await;
    assert_eq!(
        (job.state, job.attempt),
        (JobState::Succeeded, 2),
        "{job:?}"
    );
    // It was us who brought it, although the second worker found it there.
    fleet.removed(job.user_id, job.image_id.unwrap()).await;
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

/// The worker dies while it waits for the image's lock; the removal goes on.
async fn a_worker_killed_in_a_removal_is_replaced(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    fleet.lock_image(&id).await;
    let job = fleet.try_remove(user, image.id).await.unwrap();
    fleet.reaches(job.id, JobState::Running).await;
    fleet.kill_worker().await;
    fleet.unlock_image(&id).await;
    fleet.start_worker().await;
    let job = fleet.ended(job.id).await;
    assert_eq!(
        (job.state, job.attempt),
        (JobState::Succeeded, 2),
        "{job:?}"
    );
    assert_eq!(fleet.account(user).await.total, "100".parse().unwrap());
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

/// The worker renews so seldom that it does not hear that the job was taken from it.
async fn an_old_lease_cannot_settle(shape: Shape) {
    let fleet = Fleet::with(shape, |settings| {
        settings.worker.lease = Duration::from_mins(2);
    });
    let StuckPull {
        fleet,
        proxy,
        id,
        job,
    } = stuck_pull(fleet.await).await;
    fleet.lock_image(&id).await;
    proxy.open();
    eventually("the engine has it", || fleet.engine.id_of(&id)).await;
    fleet.let_lease_lapse(job).await;
    // The job waits for milliseconds only until the next attempt of it begins.
    eventually("the first attempt ended", || async {
        fleet.attempts(job).await[0].finished_at
    })
    .await;
    fleet.unlock_image(&id).await;
    let job = fleet.ended(job).await;
    assert_eq!(
        (job.state, job.attempt),
        (JobState::Succeeded, 2),
        "{job:?}"
    );
    fleet.finish().await;
}

async fn a_stalled_pull_is_tried_again(shape: Shape) {
    let fleet = Fleet::with(shape, |settings| {
        settings.worker.stall_timeout = Duration::from_secs(1);
    });
    let StuckPull {
        fleet, proxy, job, ..
    } = stuck_pull(fleet.await).await;
    eventually("the first attempt ended", || async {
        fleet.attempts(job).await[0].finished_at
    })
    .await;
    proxy.open();
    let job = fleet.ended(job).await;
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    assert!(job.attempt > 1);
    let first = &fleet.attempts(job.id).await[0];
    assert_eq!(first.error_code, Some(JobErrorCode::Stalled), "{first:?}");
    fleet.finish().await;
}

async fn an_orderly_stop_uses_up_no_attempt(shape: Shape) {
    let StuckPull {
        mut fleet,
        proxy,
        job,
        ..
    } = stuck_pull(Fleet::start(shape).await).await;
    fleet.stop_worker().await;
    let handed_back = fleet.job(job).await;
    assert_eq!(handed_back.state, JobState::Retrying, "{handed_back:?}");
    assert_eq!((handed_back.attempt, handed_back.max_attempts), (1, 4));
    proxy.open();
    fleet.start_worker().await;
    let job = fleet.ended(job).await;
    assert_eq!(
        (job.state, job.attempt),
        (JobState::Succeeded, 2),
        "{job:?}"
    );
    assert_eq!(fleet.attempts(job.id).await[0].error_code, None);
    fleet.finish().await;
}

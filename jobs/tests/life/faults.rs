//! Workers that vanish, stop or fall behind, and registries that fall silent.

use std::time::Duration;

use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState};

use crate::support::{Fleet, Shape, StuckPull, eventually, on_every_database};

on_every_database!(
    a_worker_killed_in_a_pull_is_replaced,
    a_worker_killed_before_the_settle_is_replaced,
    a_worker_killed_in_a_removal_is_replaced,
    an_old_lease_cannot_settle,
);

mod anywhere {
    use super::{a_stalled_pull_is_tried_again, an_orderly_stop_uses_up_no_attempt};

    crate::support::on_every_shape!(
        a_stalled_pull_is_tried_again,
        an_orderly_stop_uses_up_no_attempt,
    );
}

async fn a_worker_killed_in_a_pull_is_replaced(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let stuck = fleet.stuck_pull().await;
    fleet.kill_worker().await;
    fleet.start_worker().await;
    stuck.proxy.open();
    let job = fleet.ends(stuck.job, JobState::Succeeded, 2).await;
    let first = &fleet.attempts(job.id).await[0];
    let lost = Some(JobErrorCode::WorkerLost);
    assert_eq!(first.error_code, lost, "{first:?}");
    assert!(fleet.engine.inspect(&stuck.id).await.is_some());
    fleet.finish().await;
}

/// A pull whose image the engine has, and whose worker waits for the image's lock.
async fn unsettled(fleet: &Fleet) -> StuckPull {
    let stuck = fleet.stuck_pull().await;
    fleet.lock_image(&stuck.id).await;
    stuck.proxy.open();
    eventually("the engine has it", || fleet.engine.id_of(&stuck.id)).await;
    stuck
}

/// The engine has the image, and nobody was told.
async fn a_worker_killed_before_the_settle_is_replaced(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let pull = unsettled(&fleet).await;
    let (job, id) = (pull.job, &pull.id);
    fleet.kill_worker().await;
    fleet.unlock_image(id).await;
    assert_eq!(fleet.job(job).await.state, JobState::Running);
    fleet.start_worker().await;
    let job = fleet.ends(job, JobState::Succeeded, 2).await;
    // It was us who brought it, although the second worker found it there.
    fleet.removed(job.user_id, job.image_id.unwrap()).await;
    assert_eq!(fleet.engine.inspect(id).await, None);
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
    fleet.ends(job.id, JobState::Succeeded, 2).await;
    assert_eq!(fleet.account(user).await.total, "100".parse().unwrap());
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

async fn first_attempt_ended(fleet: &Fleet, job: Uuid) {
    eventually("the first attempt ended", || async {
        fleet.attempts(job).await[0].finished_at
    })
    .await;
}

/// The worker renews so seldom that it does not hear that the job was taken from it.
async fn an_old_lease_cannot_settle(shape: Shape) {
    let minutes = Duration::from_mins(2);
    let fleet = Fleet::with(shape, |settings| settings.worker.lease = minutes).await;
    let pull = unsettled(&fleet).await;
    let (job, id) = (pull.job, &pull.id);
    fleet.let_lease_lapse(job).await;
    // The job waits for milliseconds only until the next attempt of it begins.
    first_attempt_ended(&fleet, job).await;
    fleet.unlock_image(id).await;
    fleet.ends(job, JobState::Succeeded, 2).await;
    fleet.finish().await;
}

async fn a_stalled_pull_is_tried_again(shape: Shape) {
    let second = Duration::from_secs(1);
    let fleet = Fleet::with(shape, |settings| settings.worker.stall_timeout = second).await;
    let stuck = fleet.stuck_pull().await;
    first_attempt_ended(&fleet, stuck.job).await;
    stuck.proxy.open();
    let job = fleet.succeeds(stuck.job).await;
    assert!(job.attempt > 1);
    let first = &fleet.attempts(job.id).await[0];
    assert_eq!(first.error_code, Some(JobErrorCode::Stalled), "{first:?}");
    fleet.finish().await;
}

async fn an_orderly_stop_uses_up_no_attempt(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let stuck = fleet.stuck_pull().await;
    fleet.stop_worker().await;
    let handed_back = fleet.job(stuck.job).await;
    assert_eq!(handed_back.state, JobState::Retrying, "{handed_back:?}");
    assert_eq!((handed_back.attempt, handed_back.max_attempts), (1, 4));
    stuck.proxy.open();
    fleet.start_worker().await;
    let job = fleet.ends(stuck.job, JobState::Succeeded, 2).await;
    assert_eq!(fleet.attempts(job.id).await[0].error_code, None);
    fleet.finish().await;
}

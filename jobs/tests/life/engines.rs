//! Engines that are slow, silent, or gone for good.

use std::time::Duration;

use wharfinger_entity::{ImageState, JobErrorCode, JobState};
use wharfinger_jobs::commands::cancel_job::cancel_job;

use crate::support::engine_gate::Hold;
use crate::support::{Fleet, Shape, credits, on_every_shape};

on_every_shape!(
    a_worker_killed_in_a_deletion_is_replaced,
    a_silent_engine_uses_up_no_attempt,
    a_lost_host_gives_everything_back,
);

/// It had the image's lock, which lapses with it.
async fn a_worker_killed_in_a_deletion_is_replaced(shape: Shape) {
    let (mut fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    gate.hold(Hold::Deletions);
    let job = fleet.try_remove(user, image.id).await.unwrap();
    gate.holds().await;
    let cancelled = cancel_job(&fleet.services, Some(user), Some(job.id)).await;
    assert!(cancelled.is_err());
    fleet.kill_worker().await;
    fleet.start_worker().await;
    fleet.succeeds(job.id).await;
    assert_eq!(fleet.account(user).await.total, credits("100"));
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

async fn a_silent_engine_uses_up_no_attempt(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let stuck = fleet.stuck_pull().await;
    gate.cut();
    let waiting = fleet.reaches(stuck.job, JobState::Retrying).await;
    let unavailable = Some(JobErrorCode::EngineUnavailable);
    assert_eq!(waiting.error_code, unavailable, "{waiting:?}");
    assert_eq!(waiting.max_attempts, waiting.attempt + 3, "{waiting:?}");
    stuck.proxy.open();
    gate.open();
    fleet.succeeds(stuck.job).await;
    fleet.finish().await;
}

async fn a_lost_host_gives_everything_back(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| {
        settings.host.offline_after = Duration::from_millis(1200);
        settings.host.lost_after = Duration::from_secs(4);
    })
    .await;
    let repository = fleet.repository();
    let id = fleet.push_under(&repository, &["1", "2"], 100_000).await;
    let user = fleet.user("100").await;
    let one = fleet.pulled(user, &repository.tag("1")).await;
    let two = fleet.pulled(user, &repository.tag("2")).await;
    fleet.stop_worker().await;
    let removal = fleet.try_remove(user, one.id).await.unwrap();
    let pull = fleet.pull(user, &repository.tag("3")).await;
    fleet.fails(pull.id, JobErrorCode::HostUnavailable).await;
    fleet.succeeds(removal.id).await;
    for image in [one.id, two.id] {
        fleet.becomes(image, ImageState::Lost).await;
    }
    assert_eq!(fleet.account(user).await.total, credits("100"));
    let refunds = fleet.refunds(user).await;
    let [reason] = &refunds[..] else {
        panic!("one image is paid for once, and refunded once: {refunds:?}");
    };
    assert!(
        reason.starts_with("host ") && reason.ends_with(" has been gone for too long"),
        "{reason}"
    );
    // When it comes back, what nobody holds leaves its engine.
    fleet.start_worker().await;
    fleet.engine.loses(&id).await;
    fleet.finish().await;
}

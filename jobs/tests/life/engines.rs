//! Engines that are slow, silent, or gone for good.

use std::time::Duration;

use wharfinger_entity::{ImageState, JobErrorCode, JobState};
use wharfinger_jobs::commands::cancel_job::cancel_job;

use crate::support::engine_gate::EngineGate;
use crate::support::images::{Repository, random_image};
use crate::support::proxy::Proxy;
use crate::support::{Fleet, Shape, eventually, on_every_shape};

on_every_shape!(
    a_worker_killed_in_a_deletion_is_replaced,
    a_silent_engine_uses_up_no_attempt,
    a_lost_host_gives_everything_back,
);

/// It had the image's lock, which lapses with it.
async fn a_worker_killed_in_a_deletion_is_replaced(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let gate = EngineGate::start(&fleet.engine.url).await;
    fleet.stop_worker().await;
    fleet.start_worker_at(&gate.url).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    gate.hold_deletions();
    let job = fleet.try_remove(user, image.id).await.unwrap();
    gate.holds_a_deletion().await;
    assert!(
        cancel_job(&fleet.services, Some(user), Some(job.id))
            .await
            .is_err()
    );
    fleet.kill_worker().await;
    fleet.start_worker().await;
    let job = fleet.ended(job.id).await;
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    assert_eq!(fleet.account(user).await.total, "100".parse().unwrap());
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

async fn a_silent_engine_uses_up_no_attempt(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let gate = EngineGate::start(&fleet.engine.url).await;
    fleet.stop_worker().await;
    fleet.start_worker_at(&gate.url).await;
    let proxy = Proxy::start(&fleet.registry.address).await;
    let repository = Repository::at(&proxy.address);
    fleet.push(&repository, "1", 400_000).await;
    let user = fleet.user("100").await;
    proxy.block();
    let job = fleet.pull(user, &repository.tag("1")).await;
    proxy.stuck().await;
    gate.cut();
    let waiting = fleet.reaches(job.id, JobState::Retrying).await;
    assert_eq!(
        waiting.error_code,
        Some(JobErrorCode::EngineUnavailable),
        "{waiting:?}"
    );
    assert_eq!(waiting.max_attempts, waiting.attempt + 3, "{waiting:?}");
    proxy.open();
    gate.open();
    let job = fleet.ended(job.id).await;
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    fleet.finish().await;
}

async fn a_lost_host_gives_everything_back(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| {
        settings.host.offline_after = Duration::from_millis(1200);
        settings.host.lost_after = Duration::from_secs(4);
    })
    .await;
    let repository = fleet.repository();
    let image = random_image(100_000);
    let id = repository.push(&fleet.registry, "1", &image).await;
    repository.push(&fleet.registry, "2", &image).await;
    let user = fleet.user("100").await;
    let one = fleet.pulled(user, &repository.tag("1")).await;
    let two = fleet.pulled(user, &repository.tag("2")).await;
    fleet.stop_worker().await;
    let removal = fleet.try_remove(user, one.id).await.unwrap();
    let pull = fleet.pull(user, &repository.tag("3")).await;
    let pull = fleet.ended(pull.id).await;
    assert_eq!(pull.state, JobState::Failed);
    assert_eq!(
        pull.error_code,
        Some(JobErrorCode::HostUnavailable),
        "{pull:?}"
    );
    assert_eq!(fleet.ended(removal.id).await.state, JobState::Succeeded);
    for image in [one.id, two.id] {
        eventually("the image is lost", || async {
            Some(fleet.image(image).await).filter(|image| image.state == ImageState::Lost)
        })
        .await;
    }
    assert_eq!(fleet.account(user).await.total, "100".parse().unwrap());
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

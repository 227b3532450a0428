//! What goes wrong with a pull: how often it is tried, what its user is told, what it leaves behind.

use wharfinger_entity::{JobErrorCode, JobState};
use wharfinger_jobs::commands::retry_job::retry_job;

use crate::support::images::{Repository, compressible_image};
use crate::support::{Fleet, Shape, credits, on_every_shape};

on_every_shape!(
    an_unknown_tag_fails_at_once,
    an_unreachable_registry_is_tried_until_dead,
    too_little_credit_at_the_manifest,
    too_little_credit_at_the_settle,
);

async fn an_unknown_tag_fails_at_once(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &fleet.repository().tag("none")).await;
    let job = fleet.fails(job.id, JobErrorCode::ImageNotFound).await;
    assert_eq!(job.error_retryable, Some(false));
    assert_eq!(fleet.attempts(job.id).await.len(), 1);
    fleet.finish().await;
}

async fn an_unreachable_registry_is_tried_until_dead(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &Repository::nowhere().tag("1")).await;
    let job = fleet.ends(job.id, JobState::Dead, 3).await;
    assert_eq!(
        job.error_code,
        Some(JobErrorCode::RegistryUnavailable),
        "{job:?}"
    );
    assert_eq!(job.error_retryable, Some(true));
    let attempts = fleet.attempts(job.id).await;
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        assert_eq!(attempt.error_code, Some(JobErrorCode::RegistryUnavailable));
    }
    // Tried again it has as many attempts once more.
    let again = retry_job(&fleet.services, user, Some(user), Some(job.id), None).await;
    fleet.ends(again.unwrap().id, JobState::Dead, 6).await;
    fleet.finish().await;
}

async fn too_little_credit_at_the_manifest(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let (proxy, repository) = fleet.behind_proxy().await;
    let id = fleet.push(&repository, "1", 3_000_000).await;
    let user = fleet.user("2").await;
    let job = fleet.pull(user, &repository.tag("1")).await;
    fleet.fails(job.id, JobErrorCode::InsufficientCredits).await;
    assert_eq!(proxy.layers(), 0, "not a byte of a layer was fetched");
    assert_eq!(fleet.engine.inspect(&id).await, None);
    assert_eq!(fleet.account(user).await.total, credits("2"));
    fleet.finish().await;
}

/// The image looks cheap until it is unpacked. It had moved a tag that somebody else holds: that is put back.
async fn too_little_credit_at_the_settle(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let before = fleet.push(&repository, "1", 200_000).await;
    let rich = fleet.user("100").await;
    let held = fleet.pulled(rich, &reference).await;

    let after = repository
        .push(&fleet.registry, "1", &compressible_image(5_000_000))
        .await;
    let poor = fleet.user("2").await;
    let job = fleet.pull(poor, &reference).await;
    fleet.fails(job.id, JobErrorCode::InsufficientCredits).await;
    assert_eq!(fleet.account(poor).await.total, credits("2"));
    assert_eq!(fleet.engine.id_of(&reference).await, Some(before.clone()));
    fleet.engine.loses(&after).await;

    fleet.removed(rich, held.id).await;
    assert_eq!(fleet.engine.inspect(&before).await, None);
    fleet.finish().await;
}

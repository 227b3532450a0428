//! What users ask for twice, take back, try again, or may not have.

use sea_orm::ActiveEnum as _;
use uuid::Uuid;
use wharfinger_entity::{Credits, ImageState, JobErrorCode, JobState, job};
use wharfinger_jobs::commands::cancel_job::cancel_job;
use wharfinger_jobs::commands::retry_job::retry_job;
use wharfinger_jobs::error::{ServiceError, UserErrorCode};
use wharfinger_jobs::pull_image::{self, PullImage};

use crate::support::{Fleet, Shape, on_every_shape, refusal, rows};

on_every_shape!(
    an_idempotency_key_makes_one_job,
    a_queued_job_is_cancelled,
    a_failed_pull_is_retried,
    a_cancelled_pull_is_retried_only_with_credits,
    a_second_removal_is_the_first,
    live_jobs_are_limited,
    an_image_in_use_stays,
    an_operators_image_stays,
);

async fn an_idempotency_key_makes_one_job(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let request = |reference: &str| PullImage {
        idempotency_key: Some("once".into()),
        ..rows::pull_image(user, None, reference)
    };
    let (one, other) = (fleet.repository().tag("1"), fleet.repository().tag("2"));
    let (same, again) = (request(&one), request(&one));
    let (first, second) = tokio::join!(
        pull_image::accept(&fleet.services, &same),
        pull_image::accept(&fleet.services, &again)
    );
    assert_eq!(first.unwrap().id, second.unwrap().id);
    let conflict = pull_image::accept(&fleet.services, &request(&other)).await;
    assert_eq!(refusal(conflict).code, UserErrorCode::IdempotencyConflict);
    fleet.finish().await;
}

async fn a_queued_job_is_cancelled(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    fleet.stop_worker().await;
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &fleet.repository().tag("1")).await;
    let stranger = fleet.user("100").await;
    let unknown = cancel_job(&fleet.services, Some(stranger), Some(job.id)).await;
    assert_eq!(refusal(unknown).code, UserErrorCode::JobNotFound);
    let cancelled = cancel_job(&fleet.services, Some(user), Some(job.id)).await;
    assert_eq!(cancelled.unwrap().state, JobState::Cancelled);
    assert_eq!(fleet.account(user).await.held, Credits::ZERO);
    let again = cancel_job(&fleet.services, Some(user), Some(job.id)).await;
    assert_eq!(refusal(again).code, UserErrorCode::JobNotCancellable);
    fleet.finish().await;
}

async fn retry(fleet: &Fleet, user: Uuid, job: Uuid) -> Result<job::Model, ServiceError> {
    retry_job(&fleet.services, user, Some(user), Some(job), None).await
}

async fn a_failed_pull_is_retried(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &repository.tag("1")).await;
    assert_eq!(fleet.ended(job.id).await.state, JobState::Failed);

    fleet.push(&repository, "1", 100_000).await;
    let again = retry(&fleet, user, job.id).await.unwrap();
    assert_eq!(
        (again.id, again.state, again.max_attempts),
        (job.id, JobState::Queued, 4)
    );
    assert_eq!(again.held, fleet.settings.credits.minimum_to_pull);
    fleet.ends(job.id, JobState::Succeeded, 2).await;
    let refused = retry(&fleet, user, job.id).await;
    assert_eq!(refusal(refused).code, UserErrorCode::JobNotRetryable);
    fleet.finish().await;
}

async fn a_cancelled_pull_is_retried_only_with_credits(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    fleet.stop_worker().await;
    let user = fleet.user("1.5").await;
    let job = fleet.pull(user, &fleet.repository().tag("1")).await;
    let cancel = async |job: &job::Model| {
        let cancelled = cancel_job(&fleet.services, Some(user), Some(job.id)).await;
        cancelled.unwrap();
    };
    cancel(&job).await;
    let other = fleet.pull(user, &fleet.repository().tag("1")).await;
    let refused = retry(&fleet, user, job.id).await;
    assert_eq!(refusal(refused).code, UserErrorCode::InsufficientCredits);
    cancel(&other).await;
    let again = retry(&fleet, user, job.id).await.unwrap();
    assert_eq!(again.held, fleet.account(user).await.held);
    fleet.start_worker().await;
    assert_eq!(fleet.ended(job.id).await.state, JobState::Failed);
    fleet.finish().await;
}

async fn a_second_removal_is_the_first(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    let stranger = fleet.user("100").await;
    let unknown = fleet.try_remove(stranger, image.id).await.unwrap_err();
    assert_eq!(unknown.code, UserErrorCode::ImageNotFound);

    fleet.stop_worker().await;
    let first = fleet.try_remove(user, image.id).await.unwrap();
    let second = fleet.try_remove(user, image.id).await.unwrap();
    assert_eq!(first.id, second.id);
    fleet.start_worker().await;
    fleet.succeeds(first.id).await;
    let gone = fleet.try_remove(user, image.id).await.unwrap_err();
    assert_eq!(gone.code, UserErrorCode::NotRemovable);
    fleet.finish().await;
}

async fn live_jobs_are_limited(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| settings.limits.live_jobs_per_user = 2).await;
    fleet.stop_worker().await;
    let user = fleet.user("100").await;
    let repository = fleet.repository();
    let first = fleet.pull(user, &repository.tag("1")).await;
    fleet.pull(user, &repository.tag("2")).await;
    let refused = fleet
        .try_pull(user, &repository.tag("3"))
        .await
        .unwrap_err();
    assert_eq!(refused.code, UserErrorCode::TooManyJobs);
    cancel_job(&fleet.services, Some(user), Some(first.id))
        .await
        .unwrap();
    fleet.pull(user, &repository.tag("3")).await;
    fleet.finish().await;
}

async fn an_image_in_use_stays(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    let container = fleet.engine.create_container(&id).await;
    let job = fleet.try_remove(user, image.id).await.unwrap();
    let job = fleet.fails(job.id, JobErrorCode::ImageInUse).await;
    assert_eq!(
        job.error_code.map(|code| code.to_value()),
        Some("IMAGE_IN_USE".into())
    );
    assert_eq!(fleet.image(image.id).await.state, ImageState::Held);
    assert_eq!(
        fleet.engine.id_of(&repository.tag("1")).await,
        Some(id.clone())
    );

    fleet.engine.remove_container(&container).await;
    let again = retry(&fleet, user, job.id).await.unwrap();
    fleet.succeeds(again.id).await;
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

async fn an_operators_image_stays(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let id = fleet.push(&repository, "1", 100_000).await;
    fleet.engine.pull(&reference).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &reference).await;
    assert!(image.charge > Credits::ZERO);
    fleet.removed(user, image.id).await;
    assert_eq!(fleet.account(user).await.total, "100".parse().unwrap());
    assert_eq!(fleet.engine.id_of(&reference).await, Some(id));
    fleet.finish().await;
}

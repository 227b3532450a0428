//! What waits for a while: a registry that asks for patience, and a pull that is to be tried again later.

use std::time::Duration;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set};
use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState, job};
use wharfinger_jobs::registry_credentials::save_registry_credential;
use wharfinger_jobs::settings::Settings;

use crate::credentials::login;
use crate::support::images::Repository;
use crate::support::stand_in::{Engine, Image, Registry};
use crate::support::{Fleet, Shape, eventually, on_every_shape};

on_every_shape!(
    a_registrys_retry_after_uses_up_no_attempt,
    a_registry_that_asks_for_no_patience_is_given_some,
    a_rate_limit_is_not_waited_out_for_ever,
    a_job_that_is_tried_for_nothing_again_and_again_keeps_few_attempts,
    a_registry_that_is_asked_too_often_is_shown_no_login,
    a_back_off_survives_a_restart,
);

/// A fleet whose jobs have one attempt, a registry with an image, and an engine that pulls it.
async fn stand_ins(
    shape: Shape,
    change: impl FnOnce(&mut Settings),
) -> (Fleet, Registry, Engine, String) {
    let registry = Registry::start().await;
    let engine = Engine::start(&registry).await;
    registry.push("a", "1", &Image::new("patience", 1000, 1000), 0);
    let fleet = Fleet::at_engine(shape, &engine.url, |settings| {
        settings.retry.max_attempts = 1;
        change(settings);
    })
    .await;
    let reference = format!("{}/a:1", registry.address);
    (fleet, registry, engine, reference)
}

async fn codes(fleet: &Fleet, job: Uuid) -> Vec<Option<JobErrorCode>> {
    let attempts = fleet.attempts(job).await.into_iter();
    attempts.map(|attempt| attempt.error_code).collect()
}

async fn a_registrys_retry_after_uses_up_no_attempt(shape: Shape) {
    let (fleet, registry, _engine, reference) = stand_ins(shape, |_| ()).await;
    let user = fleet.user("100").await;
    let limited = Some(JobErrorCode::RegistryRateLimited);
    registry.ask_for_patience(2, 1);
    let job = fleet.pull(user, &reference).await;
    let job = fleet.succeeds(job.id).await;
    assert_eq!(codes(&fleet, job.id).await, [limited, limited, None]);
    assert_eq!((job.attempt, job.max_attempts), (3, 3));
    let waited = job.finished_at.unwrap().since(job.accepted_at);
    assert!(waited >= Duration::from_secs(2), "{waited:?}");

    // Nor does one that does not say when it may be asked again.
    registry.refuse(axum::http::StatusCode::TOO_MANY_REQUESTS, 1);
    let job = fleet.pull(user, &reference).await;
    fleet.ends(job.id, JobState::Succeeded, 2).await;
    fleet.finish().await;
}

/// Whatever it asks for: the waits grow, and the shortest is half of what a counted attempt may wait at most.
async fn a_registry_that_asks_for_no_patience_is_given_some(shape: Shape) {
    let (fleet, registry, _engine, reference) = stand_ins(shape, |settings| {
        settings.retry.base_delay = Duration::from_millis(200);
        settings.retry.max_delay = Duration::from_millis(800);
    })
    .await;
    registry.ask_for_patience(5, 0);
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &reference).await.id;
    let job = fleet.succeeds(job).await;
    let attempts = fleet.attempts(job.id).await;
    let waits: Vec<Duration> = attempts
        .windows(2)
        .map(|pair| pair[1].started_at.since(pair[0].finished_at.unwrap()))
        .collect();
    let least = [100, 200, 400, 400, 400].map(Duration::from_millis);
    assert_eq!(waits.len(), least.len());
    for (wait, least) in waits.iter().zip(least) {
        assert!(*wait >= least, "{waits:?}");
    }
    fleet.finish().await;
}

async fn a_rate_limit_is_not_waited_out_for_ever(shape: Shape) {
    let patience = Duration::from_millis(1500);
    let (fleet, registry, _engine, reference) = stand_ins(shape, |settings| {
        settings.retry.max_attempts = 2;
        settings.retry.rate_limit_patience = patience;
    })
    .await;
    registry.ask_for_patience(u32::MAX, 0);
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &reference).await.id;
    let job = fleet.ended(job).await;
    let limited = Some(JobErrorCode::RegistryRateLimited);
    assert_eq!((job.state, job.error_code), (JobState::Dead, limited));
    // It has the one attempt more that it may have, after those that did not count.
    let first = &fleet.attempts(job.id).await[0];
    let waited = job.finished_at.unwrap().since(first.finished_at.unwrap());
    assert!(job.attempt > 2 && waited >= patience, "{job:?}");
    fleet.finish().await;
}

/// Its attempt numbers go on, and those in the middle are forgotten.
async fn a_job_that_is_tried_for_nothing_again_and_again_keeps_few_attempts(shape: Shape) {
    let (fleet, registry, _engine, reference) = stand_ins(shape, |settings| {
        settings.retry.base_delay = Duration::from_millis(1);
        settings.retry.max_delay = Duration::from_millis(1);
    })
    .await;
    registry.ask_for_patience(70, 0);
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &reference).await.id;
    let job = fleet.ends(job, JobState::Succeeded, 71).await;
    let attempts = fleet.attempts(job.id).await;
    let numbers: Vec<i32> = attempts.iter().map(|attempt| attempt.number).collect();
    let kept: Vec<i32> = (1..=10).chain(31..=71).collect();
    assert_eq!(numbers, kept);
    fleet.finish().await;
}

/// It says nothing of the image, which may be everybody's: the next attempt asks as nobody again.
async fn a_registry_that_is_asked_too_often_is_shown_no_login(shape: Shape) {
    let (fleet, registry, _engine, reference) = stand_ins(shape, |_| ()).await;
    let user = fleet.user("100").await;
    let login = login(user, &registry.address, "hunter2");
    let saved = save_registry_credential(&fleet.services, &login).await;
    saved.unwrap();
    registry.ask_for_patience(1, 1);
    let job = fleet.pull(user, &reference).await;
    let job = fleet.succeeds(job.id).await;
    let limited = Some(JobErrorCode::RegistryRateLimited);
    assert_eq!(codes(&fleet, job.id).await, [limited, None]);
    fleet.finish().await;
}

/// With everything that a process had in mind gone, a pull waits as long as it was to, and then goes on by itself.
async fn a_back_off_survives_a_restart(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| {
        // Jitter makes a minute of it less than once in fifty thousand times.
        settings.retry.base_delay = Duration::from_hours(1000);
        settings.retry.max_delay = Duration::from_hours(1000);
    })
    .await;
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &Repository::nowhere().tag("1")).await.id;
    let waiting = fleet.reaches(job, JobState::Retrying).await;
    fleet.kill_worker().await;
    fleet.start_worker().await;
    // By the end of another pull everybody has looked at what there is to do.
    let repository = fleet.repository();
    fleet.push(&repository, "1", 1000).await;
    fleet.pulled(user, &repository.tag("1")).await;
    let still = fleet.job(job).await;
    assert_eq!(
        (still.state, still.attempt, still.run_after),
        (JobState::Retrying, 1, waiting.run_after),
        "{still:?}"
    );
    let due = job::ActiveModel {
        id: Set(job),
        run_after: Set(fleet.services.clock.now()),
        ..Default::default()
    };
    due.update(fleet.services.db.write()).await.unwrap();
    eventually("it is tried again", || async {
        let job = fleet.job(job).await;
        (job.attempt == 2 && job.state == JobState::Retrying).then_some(())
    })
    .await;
    fleet.finish().await;
}

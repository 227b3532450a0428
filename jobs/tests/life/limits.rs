//! How much one user may ask for, and when they may come back.

use std::time::Duration;

use uuid::Uuid;
use wharfinger_entity::{JobState, job};
use wharfinger_jobs::commands::cancel_job::cancel_job;
use wharfinger_jobs::commands::retry_job::retry_job;
use wharfinger_jobs::error::{UserError, UserErrorCode};

use crate::support::bare::Bare;
use crate::support::{Shape, on_every_database, rejected};

on_every_database!(
    pulls_of_an_hour_are_limited_and_the_refusal_says_until_when,
    a_retry_counts_as_a_pull,
    a_limit_that_was_lowered_says_when_there_is_room_again,
    a_retry_needs_room_among_the_live_jobs,
);

const MINUTE: Duration = Duration::from_mins(1);

/// The seconds that a refusal says to wait.
fn wait(refused: &UserError) -> Duration {
    assert_eq!(refused.code, UserErrorCode::TooManyJobs, "{refused:?}");
    let seconds = refused.message.rsplit_once("try again in ").unwrap().1;
    Duration::from_secs(seconds.strip_suffix(" s").unwrap().parse().unwrap())
}

async fn bare(shape: Shape, pulls: u32) -> Bare {
    let mut bare = Bare::with(shape, |settings| {
        settings.limits.pulls_per_hour_per_user = pulls;
    })
    .await;
    bare.stop_clock();
    bare.host(|_| ()).await;
    bare
}

async fn cancelled(bare: &Bare, user: Uuid, job: Uuid) {
    let cancelled = cancel_job(&bare.services, Some(user), Some(job)).await;
    assert_eq!(cancelled.unwrap().state, JobState::Cancelled);
}

async fn retry(bare: &Bare, user: Uuid, job: Uuid) -> Result<job::Model, UserError> {
    rejected(retry_job(&bare.services, user, Some(user), Some(job), None).await)
}

async fn pulls_of_an_hour_are_limited_and_the_refusal_says_until_when(shape: Shape) {
    let bare = bare(shape, 2).await;
    let (user, other) = (bare.user().await, bare.user().await);
    let clock = &bare.services.clock;
    bare.pull(user, None, "127.0.0.1:1/a").await;
    clock.advance(10 * MINUTE);
    bare.pull(user, None, "127.0.0.1:1/b").await;
    let refused = bare.try_pull(user, None, "127.0.0.1:1/c").await;
    let wait = wait(&refused.unwrap_err());
    assert_eq!(wait, 50 * MINUTE + Duration::from_secs(1));
    // Others are not concerned.
    bare.pull(other, None, "127.0.0.1:1/c").await;

    clock.advance(wait.checked_sub(Duration::from_secs(2)).unwrap());
    assert!(bare.try_pull(user, None, "127.0.0.1:1/c").await.is_err());
    clock.advance(Duration::from_secs(2));
    bare.pull(user, None, "127.0.0.1:1/c").await;
    assert!(bare.try_pull(user, None, "127.0.0.1:1/d").await.is_err());
}

async fn a_retry_counts_as_a_pull(shape: Shape) {
    let bare = bare(shape, 3).await;
    let user = bare.user().await;
    let clock = &bare.services.clock;
    let job = bare.pull(user, None, "127.0.0.1:1/a").await.id;
    for _ in 0..2 {
        cancelled(&bare, user, job).await;
        clock.advance(MINUTE);
        retry(&bare, user, job).await.unwrap();
    }
    cancelled(&bare, user, job).await;
    let expected = 58 * MINUTE + Duration::from_secs(1);
    assert_eq!(wait(&retry(&bare, user, job).await.unwrap_err()), expected);
    let refused = bare.try_pull(user, None, "127.0.0.1:1/b").await;
    assert_eq!(wait(&refused.unwrap_err()), expected);
    clock.advance(expected);
    retry(&bare, user, job).await.unwrap();
}

async fn a_limit_that_was_lowered_says_when_there_is_room_again(shape: Shape) {
    let mut bare = bare(shape, 10).await;
    let user = bare.user().await;
    for tag in 0..4 {
        bare.pull(user, None, &format!("127.0.0.1:1/a:{tag}")).await;
        bare.services.clock.advance(MINUTE);
    }
    bare.change(|settings| settings.limits.pulls_per_hour_per_user = 2);
    let refused = bare.try_pull(user, None, "127.0.0.1:1/b").await;
    let wait = wait(&refused.unwrap_err());
    // The third of the four has to be an hour old.
    assert_eq!(wait, 58 * MINUTE + Duration::from_secs(1));
    bare.services.clock.advance(wait);
    bare.pull(user, None, "127.0.0.1:1/b").await;
}

async fn a_retry_needs_room_among_the_live_jobs(shape: Shape) {
    let mut bare = bare(shape, 0).await;
    bare.change(|settings| settings.limits.live_jobs_per_user = 2);
    let user = bare.user().await;
    let first = bare.pull(user, None, "127.0.0.1:1/a").await.id;
    cancelled(&bare, user, first).await;
    let second = bare.pull(user, None, "127.0.0.1:1/b").await.id;
    bare.pull(user, None, "127.0.0.1:1/c").await;
    let refused = retry(&bare, user, first).await.unwrap_err();
    assert_eq!(refused.code, UserErrorCode::TooManyJobs);
    assert_eq!(
        refused.message,
        "you have 2 jobs that have not ended, and 2 is the limit: cancel one, or wait for one to end"
    );
    cancelled(&bare, user, second).await;
    retry(&bare, user, first).await.unwrap();
}

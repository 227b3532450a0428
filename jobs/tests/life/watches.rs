//! What watchers of a job are told, and what they are not.

use std::pin::pin;

use futures::StreamExt as _;
use wharfinger_entity::JobState;
use wharfinger_jobs::commands::cancel_job::cancel_job;
use wharfinger_jobs::commands::retry_job::retry_job;
use wharfinger_jobs::live::notify;
use wharfinger_jobs::live::progress_event::ProgressEvent;
use wharfinger_jobs::queries::progress_watch::Watches;

use crate::support::bare::Bare;
use crate::support::{Shape, in_time, on_every_shape};

on_every_shape!(an_end_from_before_a_retry_ends_no_watch);

/// A worker that could not reach Redis tells of the end when it can again, and the job has been retried since.
async fn an_end_from_before_a_retry_ends_no_watch(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (services, user) = (&bare.services, bare.user().await);
    let host = bare.host(|_| ()).await;
    let job = bare.pull(user, Some(host), "127.0.0.1:1/a:1").await;
    let (owner, id) = (Some(user), Some(job.id));
    let ended = cancel_job(services, owner, id).await.unwrap();
    let old = ProgressEvent::of(&ended);
    assert_eq!(old.state, JobState::Cancelled);
    let retried = retry_job(services, user, owner, id, None).await.unwrap();

    let mut frames = pin!(Watches::default().follow(services, job.id));
    let mut next = async || in_time("a frame", frames.next()).await;
    let first = next().await.unwrap();
    assert_eq!(
        (first.state, first.sequence),
        (JobState::Queued, retried.sequence)
    );
    notify::progress(&services.events, job.id, &old);
    let running = ProgressEvent {
        sequence: retried.sequence + 10,
        state: JobState::Running,
        ..ProgressEvent::of(&retried)
    };
    notify::progress(&services.events, job.id, &running);
    assert_eq!(*next().await.unwrap(), running);

    // The end is told at once, though the number that the database has is a smaller one.
    let ended = cancel_job(services, owner, id).await.unwrap();
    assert!(ended.sequence < running.sequence);
    let last = next().await.unwrap();
    assert_eq!(
        (last.state, last.sequence),
        (JobState::Cancelled, ended.sequence)
    );
    assert!(next().await.is_none());
}

//! How an attempt or a job ends. Every way out of a live state goes through [`end`], in the caller's transaction: job,
//! attempt, hold and account change together or not at all.

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr,
    EntityTrait, IntoActiveModel, QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{Credits, JobErrorCode, JobState, Timestamp, job, job_attempt};

use crate::credits::{Account, Balance};
use crate::error::{JobFailure, ServiceError, Then};
use crate::frame::beyond;
use crate::services::Services;

/// How a live job goes on.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It was stopped by request.
    Cancelled,
    /// The attempt failed.
    Failed(JobFailure),
    /// Its worker stops in an orderly way: another attempt starts at once, and this one does not count.
    HandedBack,
    /// The removal has nothing to do any more.
    NothingToDo,
}

/// Ends the running attempt, and the job where that was the last word. `job` must be locked in `tx`, and not final.
/// Returns the job as stored, and the owner's balance if credits were released.
pub(crate) async fn end(
    tx: &DatabaseTransaction,
    services: &Services,
    job: job::Model,
    outcome: Outcome,
) -> Result<(job::Model, Option<Balance>), ServiceError> {
    let now = services.clock.now();
    let next = decide(services, &job, &outcome, now);
    if job.state == JobState::Running {
        finish_attempt(tx, &job, next.error.as_ref(), now).await?;
    }
    let mut changed = job.clone().into_active_model();
    changed.state = Set(next.state);
    changed.sequence = Set(match job.state {
        JobState::Running => beyond(job.sequence),
        _ => job.sequence.saturating_add(1),
    });
    changed.worker = Set(None);
    changed.lease_until = Set(None);
    changed.dispatched_at = Set(None);
    changed.error_code = Set(next.error.as_ref().map(|error| error.code));
    changed.error_message = Set(next.error.as_ref().map(|error| error.message.clone()));
    changed.error_retryable = Set(next.error.as_ref().map(JobFailure::is_retryable));
    if next.free {
        changed.max_attempts = Set(job.max_attempts.saturating_add(1));
    }
    if next.state.is_final() {
        changed.finished_at = Set(Some(now));
        changed.live = Set(None);
        changed.removal_of = Set(None);
        changed.cancel_requested = Set(false);
    } else {
        changed.run_after = Set(next.run_after);
    }
    let mut balance = None;
    if next.state.is_final() && job.held != Credits::ZERO {
        let mut account = Account::lock(tx, job.user_id, now).await?;
        account.set_hold(&mut changed, job.held, Credits::ZERO)?;
        balance = Some(account.save().await?);
    }
    Ok((changed.update(tx).await?, balance))
}

struct Next {
    state: JobState,
    error: Option<JobFailure>,
    run_after: Timestamp,
    free: bool,
}

fn decide(services: &Services, job: &job::Model, outcome: &Outcome, now: Timestamp) -> Next {
    let plain = |state| Next {
        state,
        error: None,
        run_after: now,
        free: false,
    };
    match outcome {
        Outcome::Cancelled => plain(JobState::Cancelled),
        Outcome::NothingToDo => plain(JobState::Succeeded),
        // What was to be stopped is not tried again.
        Outcome::Failed(_) | Outcome::HandedBack if job.cancel_requested => {
            plain(JobState::Cancelled)
        }
        Outcome::HandedBack => Next {
            free: true,
            ..plain(JobState::Retrying)
        },
        Outcome::Failed(failure) => {
            let (state, after, free) = after_failure(services, job, failure, now);
            Next {
                state,
                error: Some(failure.clone()),
                run_after: now.after(after),
                free,
            }
        }
    }
}

/// The retry policy. A fault that counts for nothing is forgiven for as long as a lost host is waited for, so that a
/// registry that says "later" for ever does not keep a job alive for ever.
fn after_failure(
    services: &Services,
    job: &job::Model,
    failure: &JobFailure,
    now: Timestamp,
) -> (JobState, Duration, bool) {
    let retry = &services.settings.retry;
    match failure.then {
        Then::Fail => (JobState::Failed, Duration::ZERO, false),
        Then::RetryFree(after)
            if now.since(job.accepted_at) < services.settings.host.lost_after =>
        {
            (JobState::Retrying, after, true)
        }
        Then::Retry | Then::RetryFree(_) if job.attempt >= job.max_attempts => {
            (JobState::Dead, Duration::ZERO, false)
        }
        Then::RetryFree(after) => (JobState::Retrying, after, false),
        // The worker is gone, not the image or the registry: nothing is spared by waiting.
        Then::Retry if failure.code == JobErrorCode::WorkerLost => {
            (JobState::Retrying, Duration::ZERO, false)
        }
        Then::Retry => (
            JobState::Retrying,
            retry.delay(job.attempt, rand::random()),
            false,
        ),
    }
}

/// Notes that the attempt that the job is at began.
pub(crate) async fn begin_attempt(
    db: &impl ConnectionTrait,
    job: &job::Model,
    now: Timestamp,
) -> Result<(), DbErr> {
    insert(
        db,
        job,
        now,
        job_attempt::ActiveModel {
            ..Default::default()
        },
    )
    .await
}

/// Closes the attempt that runs.
pub(crate) async fn finish_attempt(
    tx: &DatabaseTransaction,
    job: &job::Model,
    error: Option<&JobFailure>,
    now: Timestamp,
) -> Result<(), DbErr> {
    let ending = job_attempt::ActiveModel {
        finished_at: Set(Some(now)),
        error_code: Set(error.map(|error| error.code)),
        error_message: Set(error.map(|error| error.message.clone())),
        error_retryable: Set(error.map(JobFailure::is_retryable)),
        ..Default::default()
    };
    let noted = job_attempt::Entity::update_many()
        .set(ending.clone())
        .filter(job_attempt::Column::JobId.eq(job.id))
        .filter(job_attempt::Column::Number.eq(job.attempt))
        .exec(tx)
        .await?;
    if noted.rows_affected == 0 {
        // Its worker vanished between taking the job and noting that it did.
        insert(tx, job, now, ending).await?;
    }
    Ok(())
}

/// Inserts the attempt that the job is at. `ending` is what there is to say of its end; of one that runs, nothing is set.
async fn insert(
    db: &impl ConnectionTrait,
    job: &job::Model,
    started_at: Timestamp,
    ending: job_attempt::ActiveModel,
) -> Result<(), DbErr> {
    job_attempt::Entity::insert(job_attempt::ActiveModel {
        id: Set(Uuid::now_v7()),
        job_id: Set(job.id),
        number: Set(job.attempt),
        worker: Set(job.worker.clone().unwrap_or_default()),
        started_at: Set(started_at),
        ..ending
    })
    .exec_without_returning(db)
    .await?;
    Ok(())
}

/// The state in words, for messages.
pub(crate) fn word(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "queued",
        JobState::Running => "running",
        JobState::Retrying => "waiting to try again",
        JobState::Succeeded => "done",
        JobState::Failed => "failed",
        JobState::Dead => "dead",
        JobState::Cancelled => "cancelled",
    }
}

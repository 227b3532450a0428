//! How an attempt or a job ends. Every way out of a live state goes through [`end`], in the caller's transaction: job,
//! attempt, hold and account change together or not at all.

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait,
    IntoActiveModel, PaginatorTrait, QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{Credits, JobErrorCode, JobState, Timestamp, job, job_attempt};

use crate::error::{JobFailure, ServiceError, Then};
use crate::infra::db::Transaction;
use crate::job::order::place;
use crate::ledger::{Account, Balance};
use crate::live::progress_event::beyond;
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
    tx: &Transaction,
    services: &Services,
    job: job::Model,
    outcome: Outcome,
) -> Result<(job::Model, Option<Balance>), ServiceError> {
    let now = services.clock.now();
    let repeated = match &outcome {
        Outcome::Failed(failure) => repeated(tx, &job, failure).await?,
        _ => 0,
    };
    let next = decide(services, &job, &outcome, repeated, now);
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
        forget_middle(tx, &job).await?;
    }
    changed.free_in_a_row = Set(if next.free {
        job.free_in_a_row.saturating_add(1)
    } else {
        0
    });
    if is_rate_limit(&outcome) && job.rate_limited_since.is_none() {
        changed.rate_limited_since = Set(Some(now));
    }
    if next.state.is_final() {
        changed.finished_at = Set(Some(now));
        changed.live = Set(None);
        changed.removal_of = Set(None);
        changed.cancel_requested = Set(false);
    } else {
        changed.run_after = Set(next.run_after);
        if let Some(host_id) = job.host_id.filter(|_| next.queues_again) {
            changed.turn = Set(place(tx, job.user_id, host_id, now).await?);
        }
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
    /// The attempt does not count.
    free: bool,
    /// The coming attempt has a turn of its own in the fair order: this one had its.
    queues_again: bool,
}

/// How many earlier attempts of this acceptance failed just so, where that decides what follows. Attempts are rows: the count
/// survives restarts.
async fn repeated(tx: &Transaction, job: &job::Model, failure: &JobFailure) -> Result<i32, DbErr> {
    if !matches!(failure.then, Then::RetryFreeAtMost { .. }) {
        return Ok(0);
    }
    let attempts = job_attempt::Entity::find()
        .filter(job_attempt::Column::JobId.eq(job.id))
        .filter(job_attempt::Column::Number.lt(job.attempt))
        .filter(job_attempt::Column::StartedAt.gte(job.accepted_at))
        .filter(job_attempt::Column::ErrorCode.eq(failure.code))
        .filter(job_attempt::Column::ErrorMessage.eq(failure.message.clone()))
        .count(tx)
        .await?;
    Ok(i32::try_from(attempts).unwrap_or(i32::MAX))
}

fn decide(
    services: &Services,
    job: &job::Model,
    outcome: &Outcome,
    repeated: i32,
    now: Timestamp,
) -> Next {
    let plain = |state| Next {
        state,
        error: None,
        run_after: now,
        free: false,
        queues_again: false,
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
            // At once, unless its last attempt did not count either: a worker that restarts all the time is no hurry.
            run_after: match job.free_in_a_row {
                0 => now,
                again => now.after(free_delay(services, again, Duration::ZERO)),
            },
            ..plain(JobState::Retrying)
        },
        Outcome::Failed(failure) => {
            let (state, after, free) = after_failure(services, job, failure, repeated, now);
            let mut error = failure.clone();
            if state == JobState::Failed {
                error.then = Then::Fail;
            }
            Next {
                state,
                error: Some(error),
                run_after: now.after(after),
                free,
                // A job whose worker vanished goes on where it was.
                queues_again: failure.code != JobErrorCode::WorkerLost,
            }
        }
    }
}

/// The wait after an attempt that does not count.
fn free_delay(services: &Services, in_a_row: i32, least: Duration) -> Duration {
    let retry = &services.settings.retry;
    retry.free_delay(in_a_row, least, rand::random())
}

/// Whether a registry asked for patience.
fn is_rate_limit(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if failure.code == JobErrorCode::RegistryRateLimited)
}

/// Whether a fault that counts for nothing is forgiven still, so that it does not keep a job alive for ever: a registry's
/// limit for `retry.rate_limit_patience` from the first time on, anything else for as long as a lost host is waited for.
fn is_forgiven(
    services: &Services,
    job: &job::Model,
    failure: &JobFailure,
    now: Timestamp,
) -> bool {
    if failure.code == JobErrorCode::RegistryRateLimited {
        let since = job.rate_limited_since.unwrap_or(now);
        return now.since(since) < services.settings.retry.rate_limit_patience;
    }
    now.since(job.accepted_at) < services.settings.host.lost_after
}

/// The retry policy.
fn after_failure(
    services: &Services,
    job: &job::Model,
    failure: &JobFailure,
    repeated: i32,
    now: Timestamp,
) -> (JobState, Duration, bool) {
    let retry = &services.settings.retry;
    let free = |least| free_delay(services, job.free_in_a_row.saturating_add(1), least);
    match failure.then {
        Then::Fail => (JobState::Failed, Duration::ZERO, false),
        Then::RetryFreeAtMost { times, .. } if repeated + 1 >= times => {
            (JobState::Failed, Duration::ZERO, false)
        }
        Then::RetryFreeAtMost { after, .. } => (JobState::Retrying, free(after), true),
        Then::RetryFree(least) if is_forgiven(services, job, failure, now) => {
            (JobState::Retrying, free(least), true)
        }
        Then::Retry | Then::RetryFree(_) if job.attempt >= job.max_attempts => {
            // What was missing in every attempt is not there.
            let state = if failure.code == JobErrorCode::ImageNotFound {
                JobState::Failed
            } else {
                JobState::Dead
            };
            (state, Duration::ZERO, false)
        }
        Then::RetryFree(least) => {
            let after = least.max(retry.delay(job.attempt, rand::random()));
            (JobState::Retrying, after, false)
        }
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

/// Attempts of a job that are kept whatever came after them.
pub(crate) const FIRST_KEPT: i32 = 10;

/// Attempts of a job that are kept as the newest ones.
pub(crate) const NEWEST_KEPT: i32 = 40;

/// Forgets the attempts between the first and the newest ones, where there is no bound on their number.
async fn forget_middle(tx: &Transaction, job: &job::Model) -> Result<(), DbErr> {
    let newest = job.attempt.saturating_sub(NEWEST_KEPT);
    if newest <= FIRST_KEPT {
        return Ok(());
    }
    job_attempt::Entity::delete_many()
        .filter(job_attempt::Column::JobId.eq(job.id))
        .filter(job_attempt::Column::Number.gt(FIRST_KEPT))
        .filter(job_attempt::Column::Number.lte(newest))
        .exec(tx)
        .await?;
    Ok(())
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
    tx: &Transaction,
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

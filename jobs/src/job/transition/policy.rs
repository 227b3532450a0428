//! Which state follows the end of an attempt, by the retry policy.

use std::time::Duration;

use sea_orm::DbErr;
use wharfinger_entity::{JobErrorCode, Timestamp, job};

use super::attempt_rows;
use crate::error::{JobFailure, Then};
use crate::infra::db::Transaction;
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

/// The transition that follows an outcome.
pub(super) enum Next {
    Succeeded,
    Cancelled,
    Failed(JobFailure),
    Dead(JobFailure),
    Retrying(Retry),
    HandedBack { run_after: Timestamp },
}

/// An attempt that is followed by another.
pub(super) struct Retry {
    pub(super) error: JobFailure,
    /// The earliest instant of the next attempt.
    pub(super) run_after: Timestamp,
    /// The attempt does not count.
    pub(super) free: bool,
}

impl Next {
    pub(super) fn is_final(&self) -> bool {
        !matches!(self, Self::Retrying(_) | Self::HandedBack { .. })
    }
}

/// The transition that follows `outcome`. `job` must be locked in `tx`.
pub(super) async fn next_state(
    tx: &Transaction,
    services: &Services,
    job: &job::Model,
    outcome: Outcome,
    now: Timestamp,
) -> Result<Next, DbErr> {
    Ok(match outcome {
        Outcome::Cancelled => Next::Cancelled,
        Outcome::NothingToDo => Next::Succeeded,
        // A job that is to be stopped is not tried again.
        Outcome::Failed(_) | Outcome::HandedBack if job.cancel_requested => Next::Cancelled,
        Outcome::HandedBack => Next::HandedBack {
            // At once, unless its last attempt did not count either: a worker that restarts all the time waits.
            run_after: match job.free_in_a_row {
                0 => now,
                again => now.after(free_delay(services, again, Duration::ZERO)),
            },
        },
        Outcome::Failed(failure) => {
            let alike = match failure.then {
                Then::RetryFreeAtMost { .. } => {
                    attempt_rows::failed_alike(tx, job, &failure).await?
                }
                _ => 0,
            };
            after_failure(services, job, failure, alike, now)
        }
    })
}

/// The wait after an attempt that does not count, the `in_a_row`th one: at least `least`.
fn free_delay(services: &Services, in_a_row: i32, least: Duration) -> Duration {
    let retry = &services.settings.retry;
    retry.free_delay(in_a_row, least, rand::random())
}

/// Whether a fault that does not count is tolerated still, so that it does not keep a job alive for ever: a registry's
/// limit for `retry.rate_limit_patience` from the first time on, anything else for as long as a lost host is waited for.
fn is_tolerated(
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

/// The retry policy. `alike` is the number of earlier attempts that failed with the same code and message.
fn after_failure(
    services: &Services,
    job: &job::Model,
    failure: JobFailure,
    alike: i32,
    now: Timestamp,
) -> Next {
    let retry = &services.settings.retry;
    let backoff = || retry.delay(job.attempt, rand::random());
    let free = |least| free_delay(services, job.free_in_a_row.saturating_add(1), least);
    let (after, is_free) = match failure.then {
        Then::Fail => return failed(failure),
        Then::RetryFreeAtMost { times, .. } if alike + 1 >= times => return failed(failure),
        Then::RetryFreeAtMost { after, .. } => (free(after), true),
        Then::RetryFree(least) if is_tolerated(services, job, &failure, now) => (free(least), true),
        Then::Retry | Then::RetryFree(_) if job.attempt >= job.max_attempts => {
            // An image that was missing in every attempt does not exist.
            return match failure.code {
                JobErrorCode::ImageNotFound => failed(failure),
                _ => Next::Dead(failure),
            };
        }
        Then::RetryFree(least) => (least.max(backoff()), false),
        // The worker is gone, not the image or the registry: nothing is spared by waiting.
        Then::Retry if failure.code == JobErrorCode::WorkerLost => (Duration::ZERO, false),
        Then::Retry => (backoff(), false),
    };
    Next::Retrying(Retry {
        error: failure,
        run_after: now.after(after),
        free: is_free,
    })
}

fn failed(failure: JobFailure) -> Next {
    Next::Failed(JobFailure {
        then: Then::Fail,
        ..failure
    })
}

//! The state machine of a job, and the only writer of `jobs.state` (`api/docs/states.md` shows it).
//!
//! There is one function for each [`Transition`]. It runs in its caller's transaction, on a job that is locked there (a claim
//! compares instead of locking), asks [`EDGES`] whether the job may go that way, and sets the fields of the state that it
//! enters. Attempt, hold and state change together or not at all.

mod attempts;
mod policy;
#[cfg(test)]
mod tests;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    TryIntoModel,
};
use wharfinger_entity::{Credits, JobErrorCode, JobState, Timestamp, job};

pub(crate) use attempts::begin as begin_attempt;
pub(crate) use policy::Outcome;
use policy::{Next, Retry};

use crate::error::{JobFailure, ServiceError};
use crate::infra::db::{Transaction, insert};
use crate::job::order::place;
use crate::ledger::{Account, Balance, LedgerError};
use crate::live::progress_event::next_reserved;
use crate::services::Services;

/// What changes the state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A mutation, a schedule or a sweep asked for it.
    Accepted,
    /// A worker took it for an attempt.
    Claimed,
    /// It is done.
    Succeeded,
    /// It ended, and another attempt cannot help.
    Failed,
    /// The attempt failed, and another one follows.
    Retried,
    /// The last attempt failed for a reason that might have passed.
    Dead,
    /// It was stopped by request.
    Cancelled,
    /// Its worker stops in an orderly way.
    HandedBack,
    /// It ended badly, and is to run again.
    AcceptedAgain,
}

impl Transition {
    /// The transition in words, as in the diagram and in errors.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Claimed => "claimed",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retried => "to be retried",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::HandedBack => "handed back",
            Self::AcceptedAgain => "accepted again",
        }
    }
}

/// One way from a state to another; from none, where the job is new.
pub type Edge = (Option<JobState>, Transition, JobState);

/// Every way that a job may go.
pub const EDGES: &[Edge] = {
    use JobState::{Cancelled, Dead, Failed, Queued, Retrying, Running, Succeeded};
    use Transition as By;
    &[
        (None, By::Accepted, Queued),
        // A pull of what is public on its host needs no worker.
        (None, By::Succeeded, Succeeded),
        (Some(Queued), By::Claimed, Running),
        (Some(Retrying), By::Claimed, Running),
        (Some(Running), By::Succeeded, Succeeded),
        // The holding ended by itself, or the pull was moved to a host where its reference is public.
        (Some(Queued), By::Succeeded, Succeeded),
        (Some(Retrying), By::Succeeded, Succeeded),
        (Some(Running), By::Failed, Failed),
        // Its host is lost.
        (Some(Queued), By::Failed, Failed),
        (Some(Retrying), By::Failed, Failed),
        (Some(Running), By::Retried, Retrying),
        (Some(Running), By::HandedBack, Retrying),
        (Some(Running), By::Dead, Dead),
        (Some(Running), By::Cancelled, Cancelled),
        (Some(Queued), By::Cancelled, Cancelled),
        (Some(Retrying), By::Cancelled, Cancelled),
        (Some(Failed), By::AcceptedAgain, Queued),
        (Some(Dead), By::AcceptedAgain, Queued),
        (Some(Cancelled), By::AcceptedAgain, Queued),
    ]
};

/// The state that a transition leads to. Fails where [`EDGES`] has no such way, which is a fault of the caller.
fn target(from: Option<JobState>, by: Transition) -> Result<JobState, DbErr> {
    let mut edges = EDGES.iter();
    let edge = edges.find(|(source, transition, _)| (*source, *transition) == (from, by));
    edge.map(|(.., to)| *to).ok_or_else(|| {
        let from = from.map_or("new", state_label);
        DbErr::Custom(format!("a job that is {from} cannot be {}", by.label()))
    })
}

/// Whether a job in this state may go this way.
pub(crate) fn allows(from: JobState, by: Transition) -> bool {
    target(Some(from), by).is_ok()
}

/// Sets what every transition sets: the state, and what follows from it alone. `job` is the row before, none of a new job.
fn enter(
    changed: &mut job::ActiveModel,
    job: Option<&job::Model>,
    by: Transition,
    now: Timestamp,
) -> Result<(), DbErr> {
    let to = target(job.map(|job| job.state), by)?;
    changed.state = Set(to);
    changed.live = Set((!to.is_final()).then_some(1));
    changed.finished_at = Set(to.is_final().then_some(now));
    changed.worker = Set(None);
    changed.lease_until = Set(None);
    changed.cancel_requested = Set(false);
    changed.dispatched_at = Set(None);
    set_error(changed, None);
    if to.is_final() {
        changed.removal_of = Set(None);
    }
    let Some(job) = job else {
        changed.sequence = Set(1);
        return Ok(());
    };
    // Events of the attempt may have been sent that its worker did not save.
    changed.sequence = Set(if [job.state, to].contains(&JobState::Running) {
        next_reserved(job.sequence)
    } else {
        job.sequence.saturating_add(1)
    });
    Ok(())
}

fn set_error(changed: &mut job::ActiveModel, error: Option<&JobFailure>) {
    changed.error_code = Set(error.map(|error| error.code));
    changed.error_message = Set(error.map(|error| error.message.clone()));
    changed.error_retryable = Set(error.map(JobFailure::is_retryable));
}

/// Sets what a new acceptance sets, the first one or a later one.
fn begin_acceptance(changed: &mut job::ActiveModel, now: Timestamp) {
    changed.run_after = Set(now);
    changed.accepted_at = Set(now);
    changed.discarded_at = Set(None);
    changed.rate_limited_since = Set(None);
    changed.free_in_a_row = Set(0);
    changed.redrive_refused_at = Set(None);
    changed.touched_engine = Set(false);
}

/// Inserts a new job, QUEUED.
pub(crate) async fn accepted(
    tx: &Transaction,
    mut job: job::ActiveModel,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    enter(&mut job, None, Transition::Accepted, now)?;
    begin_acceptance(&mut job, now);
    insert(tx, job).await
}

/// Inserts a new job that is done already, SUCCEEDED. It must hold nothing.
pub(crate) async fn accepted_as_done(
    tx: &Transaction,
    mut job: job::ActiveModel,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    enter(&mut job, None, Transition::Succeeded, now)?;
    begin_acceptance(&mut job, now);
    insert(tx, job).await
}

/// The lease of a job that a worker claims.
pub(crate) struct NewLease<'a> {
    /// Name of the worker.
    pub(crate) worker: &'a str,
    /// The end of the lease, by the database's clock.
    pub(crate) lease_until: Expr,
    /// A condition under which alone it is given.
    pub(crate) still: Condition,
}

/// QUEUED or RETRYING to RUNNING, in one statement: none if the row has changed since `job` was read.
pub(crate) async fn claimed(
    db: &impl ConnectionTrait,
    job: job::Model,
    lease: NewLease<'_>,
    now: Timestamp,
) -> Result<Option<job::Model>, DbErr> {
    let (attempt, sequence) = (job.attempt, job.sequence);
    let number = attempt + 1;
    let mut claimed = job.clone().into_active_model();
    enter(&mut claimed, Some(&job), Transition::Claimed, now)?;
    claimed.attempt = Set(number);
    claimed.max_attempts = Set(job.max_attempts.max(number));
    claimed.worker = Set(Some(lease.worker.to_owned()));
    claimed.started_at = Set(job.started_at.or(Some(now)));
    claimed.progress = Set(None);
    let job = claimed.clone().try_into_model()?;
    claimed.lease_until = NotSet;
    let taken = job::Entity::update_many()
        .set(claimed)
        .col_expr(job::Column::LeaseUntil, lease.lease_until)
        .filter(lease.still)
        .filter(job::Column::Attempt.eq(attempt))
        .filter(job::Column::Sequence.eq(sequence))
        .exec(db)
        .await?;
    Ok((taken.rows_affected == 1).then_some(job))
}

/// A live job to SUCCEEDED. `fields` are those of `job`, with what its kind changes.
pub(crate) async fn succeeded(
    tx: &Transaction,
    job: &job::Model,
    fields: job::ActiveModel,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    end(tx, Transition::Succeeded, job, fields, None, now).await
}

/// A live job to CANCELLED.
async fn cancelled(
    tx: &Transaction,
    job: &job::Model,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let fields = job.clone().into_active_model();
    end(tx, Transition::Cancelled, job, fields, None, now).await
}

/// A live job to FAILED.
async fn failed(
    tx: &Transaction,
    job: &job::Model,
    error: &JobFailure,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let fields = job.clone().into_active_model();
    end(tx, Transition::Failed, job, fields, Some(error), now).await
}

/// RUNNING to DEAD: a dead letter, for an administrator.
async fn dead(
    tx: &Transaction,
    job: &job::Model,
    error: &JobFailure,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let fields = job.clone().into_active_model();
    end(tx, Transition::Dead, job, fields, Some(error), now).await
}

/// Ends a job. What it held must have been released with [`Account::release`].
async fn end(
    tx: &Transaction,
    by: Transition,
    job: &job::Model,
    mut fields: job::ActiveModel,
    error: Option<&JobFailure>,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    if job.held != Credits::ZERO {
        return Err(DbErr::Custom("a job that ends must hold nothing".into()));
    }
    fields.held = Set(Credits::ZERO);
    leave(tx, by, job, fields, error, now).await
}

/// RUNNING to RETRYING, after a failed attempt.
async fn retried(
    tx: &Transaction,
    job: &job::Model,
    retry: &Retry,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let mut fields = job.clone().into_active_model();
    fields.run_after = Set(retry.run_after);
    let code = retry.error.code;
    if code == JobErrorCode::RegistryRateLimited && job.rate_limited_since.is_none() {
        fields.rate_limited_since = Set(Some(now));
    }
    // The attempt had its turn. A job whose worker vanished goes on where it was.
    if code != JobErrorCode::WorkerLost {
        fields.turn = Set(next_turn(tx, job, now).await?);
    }
    if retry.free {
        do_not_count(tx, job, &mut fields).await?;
    } else {
        fields.free_in_a_row = Set(0);
    }
    let by = Transition::Retried;
    leave(tx, by, job, fields, Some(&retry.error), now).await
}

/// RUNNING to RETRYING, because its worker stops. The attempt does not count.
async fn handed_back(
    tx: &Transaction,
    job: &job::Model,
    run_after: Timestamp,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let mut fields = job.clone().into_active_model();
    fields.run_after = Set(run_after);
    do_not_count(tx, job, &mut fields).await?;
    leave(tx, Transition::HandedBack, job, fields, None, now).await
}

/// Allows one attempt more.
async fn do_not_count(
    tx: &Transaction,
    job: &job::Model,
    fields: &mut job::ActiveModel,
) -> Result<(), DbErr> {
    fields.max_attempts = Set(job.max_attempts.saturating_add(1));
    fields.free_in_a_row = Set(job.free_in_a_row.saturating_add(1));
    attempts::forget_middle(tx, job).await
}

/// The turn of a coming attempt in the fair order of the job's host.
async fn next_turn(tx: &Transaction, job: &job::Model, now: Timestamp) -> Result<i64, DbErr> {
    match job.host_id {
        Some(host_id) => place(tx, job.user_id, host_id, now).await,
        None => Ok(job.turn),
    }
}

/// Leaves a live state: writes the end of the attempt, if one runs, and the job.
async fn leave(
    tx: &Transaction,
    by: Transition,
    job: &job::Model,
    mut fields: job::ActiveModel,
    error: Option<&JobFailure>,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    enter(&mut fields, Some(job), by, now)?;
    set_error(&mut fields, error);
    if job.state == JobState::Running {
        attempts::finish(tx, job, error, now).await?;
    }
    store(tx, job, fields).await
}

/// FAILED, DEAD or CANCELLED to QUEUED. `fields` are those of `job`, with its new hold, ordinal and number of attempts.
pub(crate) async fn accepted_again(
    tx: &Transaction,
    job: &job::Model,
    mut fields: job::ActiveModel,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    enter(&mut fields, Some(job), Transition::AcceptedAgain, now)?;
    begin_acceptance(&mut fields, now);
    fields.turn = Set(next_turn(tx, job, now).await?);
    store(tx, job, fields).await
}

/// Stores the changes of a job whose row is locked. Returns it as it is then, without reading it again.
async fn store(
    tx: &Transaction,
    job: &job::Model,
    changed: job::ActiveModel,
) -> Result<job::Model, DbErr> {
    let stored = changed.clone().try_into_model()?;
    let updated = job::Entity::update_many()
        .set(changed)
        .filter(job::Column::Id.eq(job.id))
        .filter(job::Column::State.eq(job.state))
        .exec(tx)
        .await?;
    if updated.rows_affected == 0 {
        return Err(DbErr::RecordNotUpdated);
    }
    Ok(stored)
}

/// Ends the running attempt by its outcome, and the job where that was the last word. `job` must be locked in `tx`, and
/// live. Returns the job as stored, and the owner's balance if credits were released.
pub(crate) async fn finish(
    tx: &Transaction,
    services: &Services,
    mut job: job::Model,
    outcome: Outcome,
) -> Result<(job::Model, Option<Balance>), ServiceError> {
    let now = services.clock.now();
    let next = policy::next_state(tx, services, &job, outcome, now).await?;
    let mut balance = None;
    if next.is_final() && job.held != Credits::ZERO {
        balance = Some(release(tx, &mut job, now).await?);
    }
    let job = match &next {
        Next::Succeeded => {
            let fields = job.clone().into_active_model();
            succeeded(tx, &job, fields, now).await
        }
        Next::Cancelled => cancelled(tx, &job, now).await,
        Next::Failed(error) => failed(tx, &job, error, now).await,
        Next::Dead(error) => dead(tx, &job, error, now).await,
        Next::Retrying(retry) => retried(tx, &job, retry, now).await,
        Next::HandedBack { run_after } => handed_back(tx, &job, *run_after, now).await,
    };
    Ok((job?, balance))
}

async fn release(
    tx: &Transaction,
    job: &mut job::Model,
    now: Timestamp,
) -> Result<Balance, LedgerError> {
    let mut account = Account::lock(tx, job.user_id, now).await?;
    account.release(job)?;
    account.save().await
}

/// The state in words, for messages.
pub(crate) fn state_label(state: JobState) -> &'static str {
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

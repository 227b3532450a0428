//! The state machine of a job, and the only writer of `jobs.state` (`api/docs/states.md` shows it).
//!
//! There is one function for each [`Transition`]: of [`acceptance`], of [`attempts`], and of [`ends`]. It runs in its caller's
//! transaction, on a job that is locked there (a claim compares instead of locking), asks [`EDGES`] whether the job may go that
//! way, and sets the fields of the state that it enters. Attempt, hold and state change together or not at all.

mod acceptance;
mod attempt_rows;
mod attempts;
mod edges;
mod ends;
mod policy;
#[cfg(test)]
mod tests;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, TryIntoModel,
};
use wharfinger_entity::{Credits, JobState, Timestamp, job};

pub(crate) use acceptance::{accepted, accepted_again, accepted_as_done};
pub(crate) use attempt_rows::begin as begin_attempt;
pub(crate) use attempts::{NewLease, claimed};
use edges::target;
pub use edges::{EDGES, Edge, Transition};
pub(crate) use edges::{allows, state_label};
pub(crate) use ends::succeeded;
use policy::Next;
pub(crate) use policy::Outcome;

use crate::error::{JobFailure, ServiceError};
use crate::infra::db::Transaction;
use crate::job::order::place;
use crate::ledger::{Account, Balance, LedgerError};
use crate::live::progress_event::next_reserved;
use crate::services::Services;

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
        Next::Cancelled => ends::cancelled(tx, &job, now).await,
        Next::Failed(error) => ends::failed(tx, &job, error, now).await,
        Next::Dead(error) => ends::dead(tx, &job, error, now).await,
        Next::Retrying(retry) => attempts::retried(tx, &job, retry, now).await,
        Next::HandedBack { run_after } => attempts::handed_back(tx, &job, *run_after, now).await,
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
        attempt_rows::finish(tx, job, error, now).await?;
    }
    store(tx, job, fields).await
}

/// The turn of a coming attempt in the fair order of the job's host.
async fn next_turn(tx: &Transaction, job: &job::Model, now: Timestamp) -> Result<i64, DbErr> {
    match job.host_id {
        Some(host_id) => place(tx, job.user_id, host_id, now).await,
        None => Ok(job.turn),
    }
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

//! Transitions that end a job.

use sea_orm::{ActiveValue::Set, DbErr, IntoActiveModel};
use wharfinger_entity::{Credits, Timestamp, job};

use super::{Transition, leave};
use crate::error::JobFailure;
use crate::infra::db::Transaction;

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
pub(super) async fn cancelled(
    tx: &Transaction,
    job: &job::Model,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let fields = job.clone().into_active_model();
    end(tx, Transition::Cancelled, job, fields, None, now).await
}

/// A live job to FAILED.
pub(super) async fn failed(
    tx: &Transaction,
    job: &job::Model,
    error: &JobFailure,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let fields = job.clone().into_active_model();
    end(tx, Transition::Failed, job, fields, Some(error), now).await
}

/// RUNNING to DEAD: a dead letter, for an administrator.
pub(super) async fn dead(
    tx: &Transaction,
    job: &job::Model,
    error: &JobFailure,
    now: Timestamp,
) -> Result<job::Model, DbErr> {
    let fields = job.clone().into_active_model();
    end(tx, Transition::Dead, job, fields, Some(error), now).await
}

/// Ends a job. What it held must have been released with [`crate::ledger::Account::release`].
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

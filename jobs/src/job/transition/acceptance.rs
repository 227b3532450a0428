//! Transitions by which a job is accepted, for the first time or again.

use sea_orm::{ActiveValue::Set, DbErr};
use wharfinger_entity::{Timestamp, job};

use super::{Transition, enter, next_turn, store};
use crate::infra::db::{Transaction, insert};

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

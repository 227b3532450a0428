//! Transitions of attempts: a worker claims the job, and the job waits again after an attempt.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    TryIntoModel,
};
use wharfinger_entity::{JobErrorCode, Timestamp, job};

use super::policy::Retry;
use super::{Transition, attempt_rows, enter, leave, next_turn};
use crate::infra::db::Transaction;

/// The lease of a job that a worker claims.
pub(crate) struct NewLease<'a> {
    /// Name of the worker.
    pub(crate) worker: &'a str,
    /// The end of the lease, by the database's clock.
    pub(crate) lease_until: Expr,
}

/// QUEUED or RETRYING to RUNNING, in one statement: none if the row has changed since `job` was read.
pub(crate) async fn claimed(
    db: &impl ConnectionTrait,
    job: job::Model,
    lease: NewLease<'_>,
    now: Timestamp,
) -> Result<Option<job::Model>, DbErr> {
    let as_read = Condition::all()
        .add(job::Column::Id.eq(job.id))
        .add(job::Column::State.eq(job.state))
        .add(job::Column::HostId.eq(job.host_id))
        .add(job::Column::Attempt.eq(job.attempt))
        .add(job::Column::Sequence.eq(job.sequence));
    let number = job.attempt + 1;
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
        .filter(as_read)
        .exec(db)
        .await?;
    Ok((taken.rows_affected == 1).then_some(job))
}

/// RUNNING to RETRYING, after a failed attempt.
pub(super) async fn retried(
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
pub(super) async fn handed_back(
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
    attempt_rows::forget_middle(tx, job).await
}

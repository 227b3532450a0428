//! The rows of a job's attempts: one is written when the attempt begins, and once more when it ends.

use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, job, job_attempt};

use crate::error::JobFailure;
use crate::infra::db::Transaction;

/// Attempts of a job that are kept whatever came after them.
const FIRST_KEPT: i32 = 10;

/// Attempts of a job that are kept as the newest ones.
const NEWEST_KEPT: i32 = 40;

/// Deletes the attempts between the first and the newest ones, of a job whose number of attempts has no bound.
pub(super) async fn forget_middle(tx: &Transaction, job: &job::Model) -> Result<(), DbErr> {
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

/// The number of earlier attempts of this acceptance that failed with the same code and message. Attempts are rows, so the
/// count survives restarts.
pub(super) async fn failed_alike(
    tx: &Transaction,
    job: &job::Model,
    failure: &JobFailure,
) -> Result<i32, DbErr> {
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

/// Inserts the attempt that the job is at, which began `now`.
pub(crate) async fn begin(
    db: &impl ConnectionTrait,
    job: &job::Model,
    now: Timestamp,
) -> Result<(), DbErr> {
    insert(db, job, now, job_attempt::ActiveModel::default()).await
}

/// Writes the end of the attempt that the job is at.
pub(super) async fn finish(
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
    let written = job_attempt::Entity::update_many()
        .set(ending.clone())
        .filter(job_attempt::Column::JobId.eq(job.id))
        .filter(job_attempt::Column::Number.eq(job.attempt))
        .exec(tx)
        .await?;
    if written.rows_affected == 0 {
        // Its worker ended between the claim and the insertion of the attempt.
        insert(tx, job, now, ending).await?;
    }
    Ok(())
}

/// Inserts the attempt that the job is at. `ending` has nothing set while the attempt runs.
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

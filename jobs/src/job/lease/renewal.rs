//! Renews a lease.

use std::time::Duration;

use sea_orm::{ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use wharfinger_entity::{JobState, job};

use super::Lease;
use crate::infra::db;
use crate::live::progress_event::ProgressEvent;
use crate::services::Services;

/// Least time limit of a renewal's statement, where a third of the lease is less.
const RENEWAL_AT_LEAST: Duration = Duration::from_secs(2);

/// The outcome of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The lease holds.
    Held,
    /// The lease holds, and the user has cancelled the job.
    CancelRequested,
    /// Another worker has the job, or it ended.
    Lost,
}

/// Extends a lease and saves the progress so far. Progress that the database refuses is left out, so that the lease is kept.
/// A statement without an answer is dropped in time for another renewal on a new connection.
pub(crate) async fn renew(
    services: &Services,
    lease: &Lease,
    frame: Option<&ProgressEvent>,
) -> Result<Renewal, DbErr> {
    match extend(services, lease, frame).await {
        Err(error) if frame.is_some() && db::refuses_data(&error) => {
            tracing::warn!(%error, "the database refuses the progress of an attempt: renewing the lease without it");
            extend(services, lease, None).await
        }
        renewed => renewed,
    }
}

/// Extends a lease. False when it was lost.
pub(crate) async fn prove(services: &Services, lease: &Lease) -> Result<bool, DbErr> {
    update(services, lease, None).await
}

/// How long a statement of a renewal may take.
fn limit(services: &Services) -> Duration {
    let time = services.settings.worker.lease;
    (time / 3).max(RENEWAL_AT_LEAST).min(time)
}

async fn update(
    services: &Services,
    lease: &Lease,
    frame: Option<&ProgressEvent>,
) -> Result<bool, DbErr> {
    let time = services.settings.worker.lease;
    let mut changes = job::ActiveModel::default();
    if let Some(frame) = frame {
        changes.sequence = Set(frame.sequence);
        changes.progress = Set(serde_json::to_value(frame).ok());
    }
    let renewed = job::Entity::update_many()
        .set(changes)
        .col_expr(job::Column::LeaseUntil, services.database_time(time))
        .filter(job::Column::Id.eq(lease.job_id))
        .filter(job::Column::State.eq(JobState::Running))
        .filter(job::Column::Attempt.eq(lease.attempt))
        .filter(job::Column::Worker.eq(&lease.worker))
        .exec(&services.db.relaxed().within(limit(services)))
        .await?;
    Ok(renewed.rows_affected == 1)
}

async fn extend(
    services: &Services,
    lease: &Lease,
    frame: Option<&ProgressEvent>,
) -> Result<Renewal, DbErr> {
    if !update(services, lease, frame).await? {
        return Ok(Renewal::Lost);
    }
    let cancel = job::Entity::find_by_id(lease.job_id)
        .select_only()
        .column(job::Column::CancelRequested)
        .into_tuple::<bool>()
        .one(&services.db.read().within(limit(services)))
        .await;
    Ok(match cancel {
        Ok(Some(true)) => Renewal::CancelRequested,
        Ok(_) => Renewal::Held,
        // The renewal is stored. The next one asks again.
        Err(error) => {
            tracing::warn!(%error, "could not read whether an attempt is to be stopped");
            Renewal::Held
        }
    })
}

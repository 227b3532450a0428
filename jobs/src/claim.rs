//! Claims and leases: who runs a job, and until when that is believed.
//!
//! The attempt number is the fencing token: every claim raises it, and whoever settles must still be the one who made
//! the newest.

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait,
    IntoActiveModel, PaginatorTrait, QueryFilter, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState, Timestamp, job, job_attempt};

use crate::db::{for_update, in_transaction};
use crate::error::{JobFailure, ServiceError};
use crate::frame::{ProgressFrame, beyond};
use crate::outcome::{self, Outcome};
use crate::services::Services;

/// A worker's right to run one attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) job_id: Uuid,
    pub(crate) attempt: i32,
    pub(crate) worker: String,
}

/// Takes a job of this host for a new attempt. None when there is nothing to take: it ended, somebody else has it, it
/// is not due, or an earlier job of its user on the same reference has not ended.
pub(crate) async fn claim(
    services: &Services,
    host_id: Uuid,
    worker: &str,
    job_id: Uuid,
) -> Result<Option<(job::Model, Lease)>, ServiceError> {
    // A claim that is forgotten in a crash leaves the job to be claimed again: nothing was done for it yet, as what is
    // recorded before the engine is asked waits for the disk, and the claim with it.
    let claimed: Result<Option<job::Model>, ServiceError> = in_transaction!(on services.db.relaxed(), |tx| {
        let now = services.clock.now();
        let Some(job) = for_update(&tx, job::Entity::find_by_id(job_id))
            .one(&tx)
            .await?
        else {
            return Ok(None);
        };
        let waits =
            matches!(job.state, JobState::Queued | JobState::Retrying) && job.run_after <= now;
        if !waits || job.host_id != Some(host_id) || has_predecessor(&tx, &job).await? {
            return Ok(None);
        }
        let number = job.attempt + 1;
        job_attempt::Entity::insert(job_attempt::ActiveModel {
            id: Set(Uuid::now_v7()),
            job_id: Set(job.id),
            number: Set(number),
            worker: Set(worker.to_owned()),
            started_at: Set(now),
            finished_at: Set(None),
            error_code: Set(None),
            error_message: Set(None),
            error_retryable: Set(None),
        })
        .exec_without_returning(&tx)
        .await?;
        let mut claimed = job.clone().into_active_model();
        claimed.state = Set(JobState::Running);
        claimed.attempt = Set(number);
        claimed.max_attempts = Set(job.max_attempts.max(number));
        claimed.worker = Set(Some(worker.to_owned()));
        claimed.lease_until = Set(Some(now.after(services.settings.worker.lease)));
        claimed.dispatched_at = Set(None);
        claimed.started_at = Set(job.started_at.or(Some(now)));
        claimed.sequence = Set(beyond(job.sequence));
        claimed.progress = Set(None);
        claimed.error_code = Set(None);
        claimed.error_message = Set(None);
        claimed.error_retryable = Set(None);
        Ok(Some(claimed.update(&tx).await?))
    });
    let Some(job) = claimed? else { return Ok(None) };
    services.announce(&job, None);
    let lease = Lease {
        job_id: job.id,
        attempt: job.attempt,
        worker: worker.to_owned(),
    };
    Ok(Some((job, lease)))
}

/// Whether an earlier job of the same user on the same (host, reference) has not ended: they run in order.
async fn has_predecessor(tx: &DatabaseTransaction, job: &job::Model) -> Result<bool, DbErr> {
    let earlier = job::Entity::find()
        .filter(job::Column::UserId.eq(job.user_id))
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::HostId.eq(job.host_id))
        .filter(job::Column::Reference.eq(&job.reference))
        .filter(job::Column::Ordinal.lt(job.ordinal))
        .count(tx)
        .await?;
    Ok(earlier > 0)
}

/// Locks the job of a lease; none when the lease was lost.
pub(crate) async fn fenced(
    tx: &DatabaseTransaction,
    lease: &Lease,
) -> Result<Option<job::Model>, DbErr> {
    let job = for_update(tx, job::Entity::find_by_id(lease.job_id))
        .one(tx)
        .await?;
    Ok(job.filter(|job| {
        job.state == JobState::Running
            && job.attempt == lease.attempt
            && job.worker.as_deref() == Some(&lease.worker)
    }))
}

/// What a renewal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The lease holds.
    Held,
    /// The lease holds, and the job is to be stopped.
    CancelRequested,
    /// Somebody else has the job, or it ended.
    Lost,
}

/// Extends a lease and saves the progress so far.
pub(crate) async fn renew(
    services: &Services,
    lease: &Lease,
    frame: Option<&ProgressFrame>,
) -> Result<Renewal, DbErr> {
    let now = services.clock.now();
    let mut changes = job::ActiveModel {
        lease_until: Set(Some(now.after(services.settings.worker.lease))),
        ..Default::default()
    };
    if let Some(frame) = frame {
        changes.sequence = Set(frame.sequence);
        changes.progress = Set(serde_json::to_value(frame).ok());
    }
    let of_lease = |query: sea_orm::UpdateMany<job::Entity>| {
        query
            .filter(job::Column::Id.eq(lease.job_id))
            .filter(job::Column::State.eq(JobState::Running))
            .filter(job::Column::Attempt.eq(lease.attempt))
            .filter(job::Column::Worker.eq(&lease.worker))
    };
    let renewed = of_lease(job::Entity::update_many().set(changes))
        .exec(services.db.relaxed())
        .await?;
    if renewed.rows_affected == 0 {
        return Ok(Renewal::Lost);
    }
    let cancel: Option<bool> = job::Entity::find_by_id(lease.job_id)
        .select_only()
        .column(job::Column::CancelRequested)
        .into_tuple()
        .one(services.db.read())
        .await?;
    Ok(if cancel == Some(true) {
        Renewal::CancelRequested
    } else {
        Renewal::Held
    })
}

/// Ends the attempt of a lease; nothing happens when the lease was lost.
pub(crate) async fn end(
    services: &Services,
    lease: &Lease,
    outcome: Outcome,
) -> Result<Option<job::Model>, ServiceError> {
    let ended = in_transaction!(services.db, |tx| {
        match fenced(&tx, lease).await? {
            None => Ok::<_, ServiceError>(None),
            Some(job) => Ok(Some(
                outcome::end(&tx, services, job, outcome.clone()).await?,
            )),
        }
    })?;
    let Some((job, balance)) = ended else {
        return Ok(None);
    };
    services.announce(&job, balance);
    Ok(Some(job))
}

/// Takes the jobs away from workers whose lease ran out: each goes on elsewhere, or is dead after its last attempt.
/// Returns how many.
pub(crate) async fn take_over(services: &Services) -> Result<usize, ServiceError> {
    let now = services.clock.now();
    let abandoned: Vec<Uuid> = job::Entity::find()
        .select_only()
        .column(job::Column::Id)
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::State.eq(JobState::Running))
        .filter(job::Column::LeaseUntil.lt(now))
        .limit(100)
        .into_tuple()
        .all(services.db.read())
        .await?;
    let mut taken = 0;
    for job_id in abandoned {
        match take_over_one(services, job_id, now).await {
            Ok(true) => taken += 1,
            Ok(false) => {}
            // One that cannot be taken over is not to keep the others waiting.
            Err(error) => tracing::error!(job.id = %job_id, %error, "could not take a job over"),
        }
    }
    Ok(taken)
}

async fn take_over_one(
    services: &Services,
    job_id: Uuid,
    now: Timestamp,
) -> Result<bool, ServiceError> {
    let ended = in_transaction!(services.db, |tx| {
        let job = for_update(&tx, job::Entity::find_by_id(job_id))
            .one(&tx)
            .await?;
        match job.filter(|job| {
            job.state == JobState::Running && job.lease_until.is_some_and(|until| until < now)
        }) {
            None => Ok::<_, ServiceError>(None),
            Some(job) => {
                let worker = job.worker.clone().unwrap_or_default();
                let lost = JobFailure::retry(
                    JobErrorCode::WorkerLost,
                    format!("worker {worker} vanished in the middle of the attempt"),
                );
                Ok(Some(
                    outcome::end(&tx, services, job, Outcome::Failed(lost)).await?,
                ))
            }
        }
    })?;
    let Some((job, balance)) = ended else {
        return Ok(false);
    };
    tracing::warn!(job.id = %job.id, state = ?job.state, "took a job over from a vanished worker");
    services.announce(&job, balance);
    Ok(true)
}

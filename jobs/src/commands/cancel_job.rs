//! `cancelJob`: stops a job that has not ended and releases what it held.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, JobState, job};

use crate::accounts::audit::Actor;
use crate::accounts::still_administrator;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::{for_update, in_transaction};
use crate::job::transition::{self, Outcome};
use crate::services::Services;

/// Cancels a job that waits; asks the worker of a running one to stop it. The job that comes back is CANCELLED, or
/// RUNNING until its worker has stopped. `owner` limits it to that user's jobs; none is for administrators.
pub async fn cancel_job(
    services: &Services,
    owner: Option<Uuid>,
    job_id: Option<Uuid>,
) -> Result<job::Model, ServiceError> {
    cancel(services, owner, None, job_id).await
}

/// The same for any job, by an administrator: another user's enters the audit log.
pub async fn cancel_any_job(
    services: &Services,
    administrator: &Actor,
    job_id: Option<Uuid>,
) -> Result<job::Model, ServiceError> {
    cancel(services, None, Some(administrator), job_id).await
}

async fn cancel(
    services: &Services,
    owner: Option<Uuid>,
    administrator: Option<&Actor>,
    job_id: Option<Uuid>,
) -> Result<job::Model, ServiceError> {
    let (job, balance) = in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        if let Some(administrator) = administrator {
            still_administrator(&tx, administrator).await?;
        }
        let job = find(&tx, owner, job_id).await?;
        if job.state.is_final() {
            Err(not_cancellable(format!(
                "the job has ended already: it is {}",
                transition::state_label(job.state)
            )))?;
        }
        if let Some(reason) = crate::kinds::implementation_of(job.kind).refuses_to_stop(&job) {
            Err(not_cancellable(reason.into()))?;
        }
        if let Some(administrator) = administrator
            && administrator.user_id() != Some(job.user_id)
        {
            administrator
                .record_on_job(&tx, AuditAction::CancelJob, &job, now)
                .await?;
        }
        if job.state == JobState::Running {
            let mut job = job.into_active_model();
            job.cancel_requested = Set(true);
            Ok::<_, ServiceError>((job.update(&tx).await?, None))
        } else {
            let (job, balance) = transition::finish(&tx, services, job, Outcome::Cancelled).await?;
            Ok((job, balance))
        }
    })?;
    services.announce(&job, balance);
    Ok(job)
}

/// Locks a job of this owner, or any job when there is none to limit it. Another user's job is answered as unknown.
pub(crate) async fn find(
    tx: &crate::infra::db::Transaction,
    owner: Option<Uuid>,
    job_id: Option<Uuid>,
) -> Result<job::Model, ServiceError> {
    let job = match job_id {
        Some(id) => for_update(tx, job::Entity::find_by_id(id)).one(tx).await?,
        None => None,
    };
    job.filter(|job| owner.is_none_or(|owner| job.user_id == owner))
        .ok_or_else(|| {
            UserError::new(
                UserErrorCode::JobNotFound,
                "jobId",
                "you have no such job: `jobs` lists yours",
            )
            .into()
        })
}

fn not_cancellable(message: String) -> UserError {
    UserError::new(UserErrorCode::JobNotCancellable, "jobId", message)
}

//! `discardJob`: takes a dead letter off the list.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, JobState, job};

use crate::accounts::audit::Actor;
use crate::accounts::still_administrator;
use crate::commands::cancel_job::find;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::in_transaction;
use crate::job::transition;
use crate::services::Services;

/// Takes a dead letter off the list: it stays DEAD, is counted no more, and `retryDeadJobs` passes it by. A caller who names it
/// may still retry it, which puts it back into life. One that is off the list already stays so.
pub async fn discard_job(
    services: &Services,
    actor: &Actor,
    job_id: Option<Uuid>,
) -> Result<job::Model, ServiceError> {
    in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        still_administrator(&tx, actor).await?;
        let job = find(&tx, None, job_id).await?;
        if job.state != JobState::Dead {
            let message = format!(
                "only a dead letter can be discarded: this job is {}",
                transition::state_label(job.state)
            );
            Err(UserError::new(
                UserErrorCode::InvalidInput,
                "jobId",
                message,
            ))?;
        }
        if job.discarded_at.is_some() {
            return Ok::<_, ServiceError>(job);
        }
        actor
            .record_on_job(&tx, AuditAction::DiscardJob, &job, now)
            .await?;
        let mut discarded = job.into_active_model();
        discarded.discarded_at = Set(Some(now));
        Ok(discarded.update(&tx).await?)
    })
}

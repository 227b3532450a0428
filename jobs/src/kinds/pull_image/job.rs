//! A pull as a kind of job.

use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::{ActiveValue::Set, DbErr, EntityTrait};
use tracing::Span;
use wharfinger_entity::{Credits, JobState, job};

use crate::attempt::{AttemptEnd, Job, JobRun, Limits, Retry};
use crate::engine_images::error::{ReconcileError, RunError};
use crate::engine_images::tag_rollback;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::holdings::publication;
use crate::infra::db::Transaction;
use crate::infra::trace::attempt_span;
use crate::job::limits::{count_retry, within_limits};

/// `pullImage`.
pub(crate) struct PullImageJob;

#[async_trait]
impl Job for PullImageJob {
    fn span(&self) -> Span {
        attempt_span!("job.pull_image")
    }

    async fn run(&self, run: &Arc<JobRun>) -> Result<AttemptEnd, RunError> {
        super::run::run(run).await
    }

    /// It counts as a new pull would, holds credits anew, and may mean another image by now.
    async fn accept_again(&self, retry: Retry<'_, '_>) -> Result<(), ServiceError> {
        let (tx, settings, job) = (retry.tx, &retry.services.settings, retry.job);
        if retry.limits == Limits::OfTheUser {
            let now = retry.account.now();
            within_limits(tx, job.user_id, &settings.limits, now).await?;
            count_retry(tx, job.user_id, job.id, now).await?;
        }
        // What is public costs nothing: there is nothing to hold.
        if !is_public(tx, job).await? {
            let minimum = settings.credits.minimum_to_pull;
            let available = retry.account.available();
            if available < minimum {
                let message =
                    format!("a pull needs {minimum} credits, and {available} are available");
                return Err(UserError::whole(UserErrorCode::InsufficientCredits, message).into());
            }
            retry
                .account
                .set_hold(retry.again, Credits::ZERO, minimum)?;
        }
        retry.again.engine_image_id = Set(None);
        retry.again.progress = Set(None);
        Ok(())
    }

    fn saves_progress(&self) -> bool {
        true
    }

    /// The tag that the engine moved goes back.
    async fn undo(&self, run: &JobRun) -> Result<(), ReconcileError> {
        let (services, engine) = (&run.context.services, &run.context.engine);
        let job = job::Entity::find_by_id(run.job.id)
            .one(services.db.read())
            .await?;
        // A worker that was cut off may come too late: the job may be another host's by now, or another attempt's.
        let ours =
            |job: &job::Model| job.host_id == Some(run.host_id) && job.attempt == run.lease.attempt;
        let Some(job) = job.filter(ours) else {
            return Ok(());
        };
        tokio::select! {
            done = tag_rollback::of_job(services, engine, &job, Some(job.id)) => done,
            // Another attempt may have moved the tag.
            () = run.lost.cancelled() => Ok(()),
        }
    }

    async fn tidy(&self, run: &JobRun, ended: &job::Model) -> Result<(), ReconcileError> {
        if ended.state == JobState::Succeeded {
            return Ok(());
        }
        // It may have been tried again since, and be under way.
        tag_rollback::of_job(&run.context.services, &run.context.engine, ended, None).await
    }
}

/// Whether the job's reference is public on its host.
async fn is_public(tx: &Transaction, job: &job::Model) -> Result<bool, DbErr> {
    let Some(host_id) = job.host_id else {
        return Ok(false);
    };
    let image = publication::of_reference(tx, host_id, &job.reference).await?;
    Ok(image.is_some())
}

//! One attempt of one job, from the claim to what is recorded of it.

use std::sync::Arc;

use sea_orm::EntityTrait;
use tracing::Instrument as _;
use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobKind, JobState, job};

use crate::attempt::{JobRun, WorkerContext};
use crate::engine_images::error::{RECORD_PAUSE, ReconcileError, RunError};
use crate::engine_images::{reconcile, tag_rollback};
use crate::error::{JobFailure, ServiceError, Then};
use crate::infra::trace;
use crate::job::lease;
use crate::job::transition::Outcome;
use crate::queue::Dispatch;
use crate::{pull_image, remove_image};

/// How many attempts of a job the database may refuse to record.
const UNRECORDABLE_AT_MOST: i32 = 5;

/// Claims the job and runs one attempt of it. Returns when there is nothing left to do here.
pub(crate) async fn run(context: &Arc<WorkerContext>, host_id: Uuid, dispatch: Dispatch) {
    let services = &context.services;
    let (job_id, attempt) = (dispatch.job_id, dispatch.attempt);
    let trace_id = trace::id_of(dispatch.traceparent.as_deref(), job_id);
    tracing::debug!(job.id = %job_id, job.attempt = attempt, trace_id, "the queue gave a job");
    let (job, lease) = match lease::claim(services, host_id, &context.worker, job_id).await {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(job.id = %job_id, job.attempt = attempt, trace_id, %error, "could not claim a job");
            return;
        }
    };
    let span = trace::attempt(&job, &context.host);
    let run = Arc::new(JobRun::new(Arc::clone(context), host_id, job, lease));
    let _registered = context.running.register(&run);
    async {
        tracing::info!(reference = %run.job.reference, "attempt began");
        let middle = async {
            match run.job.kind {
                JobKind::PullImage => Box::pin(pull_image::run::run(&run)).await,
                JobKind::RemoveImage => Box::pin(remove_image::run::run(&run)).await,
            }
        };
        let noted = lease::record_attempt_while_running(services, &run.job, middle);
        let outcome = run.with_lease(noted).await;
        Box::pin(record(&run, outcome)).await;
    }
    .instrument(span)
    .await;
}

/// Records how the attempt ended, unless it settled itself.
async fn record(run: &JobRun, outcome: Result<Option<Outcome>, RunError>) {
    let outcome = match outcome {
        Ok(None) => {
            tracing::info!("attempt settled");
            return;
        }
        Ok(Some(outcome)) => outcome,
        Err(RunError::Failed(failure)) => {
            tracing::warn!(code = failure.code.as_str(), reason = %failure.message, "attempt failed");
            trace::failed(&tracing::Span::current(), failure.code.as_str());
            if failure.code == JobErrorCode::EngineUnavailable {
                run.context.engine_answers.send_replace(false);
            }
            Outcome::Failed(failure)
        }
        Err(RunError::Service(error)) if error.is_of_data() => {
            tracing::error!(%error, "what came of the attempt cannot be recorded");
            unrecordable()
        }
        Err(RunError::Service(error)) => {
            // The database's trouble is not the job's: the attempt does not count.
            tracing::error!(%error, "the attempt could not be settled");
            let message = "what came of the attempt could not be recorded";
            Outcome::Failed(JobFailure::retry_free(
                JobErrorCode::Internal,
                message,
                RECORD_PAUSE,
            ))
        }
    };
    let surely_final = match &outcome {
        Outcome::Cancelled => true,
        Outcome::Failed(failure) => failure.then == Then::Fail,
        Outcome::HandedBack | Outcome::NothingToDo => false,
    };
    // Whoever sees that the job came to nothing finds the tag where it was. The engine may take its time.
    if surely_final && let Err(error) = run.with_lease(Box::pin(put_back_tag(run))).await {
        tracing::warn!(%error, "could not put a tag back before the end of a job: trying again after it");
    }
    match end(run, outcome).await {
        Ok(Some(job)) if job.state.is_final() => Box::pin(tidy(run, &job)).await,
        Ok(_) => {}
        Err(error) => {
            tracing::error!(%error, "could not record the end of an attempt: its lease will run out");
        }
    }
}

/// What is recorded of an attempt whose outcome the database refuses. The text is fixed: it can be recorded, and counted.
fn unrecordable() -> Outcome {
    let message = "the database refuses what came of the attempt; the log of the worker says why";
    Outcome::Failed(JobFailure::retry_free_at_most(
        UNRECORDABLE_AT_MOST,
        JobErrorCode::Internal,
        message,
        RECORD_PAUSE,
    ))
}

async fn put_back_tag(run: &JobRun) -> Result<(), ReconcileError> {
    let (services, engine) = (&run.context.services, &run.context.engine);
    let job = job::Entity::find_by_id(run.job.id)
        .one(services.db.read())
        .await?;
    // A worker that was cut off may come too late: the job may be another host's by now, or another attempt's.
    let ours =
        |job: &job::Model| job.host_id == Some(run.host_id) && job.attempt == run.lease.attempt;
    let Some(job) = job.filter(|job| job.kind == JobKind::PullImage && ours(job)) else {
        return Ok(());
    };
    tokio::select! {
        done = tag_rollback::of_job(services, engine, &job, Some(job.id)) => done,
        // Whoever has the job now may have moved the tag.
        () = run.lost.cancelled() => Ok(()),
    }
}

/// Records the end of the attempt; tries again for as long as the lease lasts when the database does not answer.
async fn end(run: &JobRun, outcome: Outcome) -> Result<Option<job::Model>, ServiceError> {
    let services = &run.context.services;
    let until = tokio::time::Instant::now() + services.settings.worker.lease;
    let mut outcome = outcome;
    let mut recordable = true;
    loop {
        match lease::end(services, &run.lease, outcome.clone()).await {
            Err(error) if error.is_of_data() && recordable => {
                tracing::error!(%error, "the end of an attempt cannot be recorded as it is");
                (outcome, recordable) = (unrecordable(), false);
            }
            Err(error) if error.is_of_data() => return Err(error),
            Err(error) if tokio::time::Instant::now() < until => {
                tracing::warn!(%error, "could not record the end of an attempt: trying again");
                tokio::time::sleep(RECORD_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Leaves nothing on the engine of a job that came to nothing.
async fn tidy(run: &JobRun, job: &job::Model) {
    let (services, engine) = (&run.context.services, &run.context.engine);
    let tidied = async {
        if job.kind == JobKind::PullImage && job.state != JobState::Succeeded {
            // It may have been tried again since, and be under way.
            Box::pin(tag_rollback::of_job(services, engine, job, None)).await?;
        }
        match job.engine_image_id {
            Some(id) => Box::pin(reconcile::one(services, engine, id)).await,
            None => Ok(()),
        }
    };
    if let Err(error) = tidied.await {
        tracing::warn!(%error, "could not tidy up after the job: the reconciler will");
    }
}

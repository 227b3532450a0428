//! One attempt of one job: claim it, run it, record what it came to.

use std::sync::Arc;

use tracing::Instrument as _;
use uuid::Uuid;

use crate::attempt::{JobRun, WorkerContext, record};
use crate::infra::trace;
use crate::job::lease::{self, Claim};
use crate::queue::Dispatch;

/// Claims the job and runs one attempt of it. Returns when there is nothing left to do here.
pub(crate) async fn run(context: &Arc<WorkerContext>, host_id: Uuid, dispatch: Dispatch) {
    let services = &context.services;
    let (job_id, attempt) = (dispatch.job_id, dispatch.attempt);
    let trace_id = trace::id_of(dispatch.traceparent.as_deref(), job_id);
    tracing::debug!(job.id = %job_id, job.attempt = attempt, trace_id, "the queue gave a job");
    let left = |reason: &str| {
        tracing::debug!(job.id = %job_id, job.attempt = attempt, trace_id, reason, "left a job of the queue");
    };
    let claiming = lease::claim(services, host_id, &context.worker, &dispatch)
        .instrument(tracing::trace_span!("claim", job.id = %job_id));
    let claimed = claiming.await;
    // The message is gone from the queue, whatever came of it.
    services.wake.taken(host_id);
    let (job, lease, known) = match claimed {
        Ok(Claim::Taken(job, lease, known)) => (*job, lease, known),
        Ok(Claim::NotClaimable) => {
            return left(
                "the message is stale, or it does not wait here, or something goes before it",
            );
        }
        Ok(Claim::ChangedSince) => {
            return left("another worker took it, or it was cancelled or moved");
        }
        Err(error) => {
            tracing::error!(job.id = %job_id, job.attempt = attempt, trace_id, %error, "could not claim a job");
            return;
        }
    };
    let kind = crate::kinds::implementation_of(job.kind);
    let span = trace::attempt(kind.span(), &job, &context.host);
    let run = Arc::new(JobRun::new(
        Arc::clone(context),
        kind,
        host_id,
        job,
        lease,
        known,
    ));
    context.running.register(&run);
    async {
        tracing::info!(reference = %run.job.reference, "attempt began");
        let attempt = lease::record_attempt_while_running(services, &run.job, kind.run(&run));
        let result = run.with_lease(attempt).await;
        Box::pin(record(&run, result)).await;
    }
    .instrument(span)
    .await;
}

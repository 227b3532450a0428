//! Mutations of jobs: requested, cancelled, retried.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::cancel_job::{cancel_any_job, cancel_job};
use wharfinger_jobs::commands::retry_job::{retry_any_job, retry_job};
use wharfinger_jobs::{error, pull_image, remove_image};

use crate::graphql::context::{caller, outcome, services, viewer};
use crate::graphql::ids::Kind;
use crate::graphql::types::{Job, UserError};
use crate::observability::metrics;

/// Mutations of jobs.
#[derive(Default)]
pub(super) struct JobMutation;

/// A request to pull an image.
#[derive(InputObject)]
pub(crate) struct PullImageInput {
    /// Anything `docker pull` takes: redis, redis:7, ghcr.io/a/b@sha256:…, localhost:5000/x. No tag or digest means latest.
    reference: String,
    /// Where to put it. Left out, the gateway chooses a host.
    host_id: Option<ID>,
    /// The same key with the same input returns the first call's job; with another input, IDEMPOTENCY_CONFLICT. Kept at least 24 h.
    idempotency_key: Option<String>,
}

/// A request to remove an image.
#[derive(InputObject)]
pub(crate) struct RemoveImageInput {
    /// The image.
    image_id: ID,
    /// The same key with the same input returns the first call's job; with another input, IDEMPOTENCY_CONFLICT. Kept at least 24 h.
    idempotency_key: Option<String>,
}

/// A request to cancel a job.
#[derive(InputObject)]
pub(crate) struct CancelJobInput {
    /// The job.
    job_id: ID,
}

/// A request to run a job again.
#[derive(InputObject)]
pub(crate) struct RetryJobInput {
    /// The job.
    job_id: ID,
    /// The same key with the same input returns the first call's job; with another input, IDEMPOTENCY_CONFLICT. Kept at least 24 h.
    idempotency_key: Option<String>,
}

/// The result of `pullImage`.
#[derive(SimpleObject)]
pub(crate) struct PullImagePayload {
    /// The job that pulls; null if it was not accepted.
    job: Option<Job>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// The result of `removeImage`.
#[derive(SimpleObject)]
pub(crate) struct RemoveImagePayload {
    /// The job that removes; null if it was not accepted.
    job: Option<Job>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// The result of `cancelJob`.
#[derive(SimpleObject)]
pub(crate) struct CancelJobPayload {
    /// The job: CANCELLED, or RUNNING until its worker has stopped it; null if it cannot be stopped.
    job: Option<Job>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// The result of `retryJob`.
#[derive(SimpleObject)]
pub(crate) struct RetryJobPayload {
    /// The job, QUEUED again; null if it cannot be.
    job: Option<Job>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

#[Object]
impl JobMutation {
    /// Ask for an image on a host. Returns as soon as the request is durably recorded and its credits are held.
    async fn pull_image(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to pull, and where to.")] input: PullImageInput,
    ) -> Result<PullImagePayload> {
        let caller = caller(ctx)?;
        let host = input.host_id.map(|id| Kind::Host.parse(&id));
        if host == Some(None) {
            return Ok(PullImagePayload {
                job: None,
                user_errors: vec![no_such_host().into()],
            });
        }
        let request = pull_image::PullImage {
            user_id: caller.user.id,
            reference: input.reference,
            host: host.flatten(),
            idempotency_key: input.idempotency_key,
            traceparent: caller.traceparent.clone(),
        };
        let accepting = pull_image::accept(services(ctx), &request);
        let job = metrics::request("pull_image", &caller.user.name, accepting).await;
        let (job, user_errors) = outcome(job)?;
        Ok(PullImagePayload { job, user_errors })
    }

    /// Let go of a private image; an administrator also removes public ones. The charge comes
    /// back with the viewer's last tag of it.
    async fn remove_image(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to let go of.")] input: RemoveImageInput,
    ) -> Result<RemoveImagePayload> {
        let caller = caller(ctx)?;
        let request = remove_image::RemoveImage {
            user_id: caller.user.id,
            image_id: Kind::Image.parse(&input.image_id),
            idempotency_key: input.idempotency_key,
            traceparent: caller.traceparent.clone(),
        };
        let accepting = remove_image::accept(services(ctx), &request);
        let job = metrics::request("remove_image", &caller.user.name, accepting).await;
        let (job, user_errors) = outcome(job)?;
        Ok(RemoveImagePayload { job, user_errors })
    }

    /// Stop a queued, retrying or running job and release what it held.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to stop.")] input: CancelJobInput,
    ) -> Result<CancelJobPayload> {
        let job_id = Kind::Job.parse(&input.job_id);
        let (caller, owner) = (caller(ctx)?, viewer(ctx)?.owner());
        let cancelling = async {
            match owner {
                None => cancel_any_job(services(ctx), &Actor::from(&caller.user), job_id).await,
                owner => cancel_job(services(ctx), owner, job_id).await,
            }
        };
        let job = metrics::request("cancel_job", &caller.user.name, cancelling).await;
        let (job, user_errors) = outcome(job)?;
        Ok(CancelJobPayload { job, user_errors })
    }

    /// Run a FAILED, DEAD or CANCELLED job again, holding its credits anew. Its owner or an administrator.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to run again.")] input: RetryJobInput,
    ) -> Result<RetryJobPayload> {
        let caller = caller(ctx)?;
        let user = &caller.user;
        let job_id = Kind::Job.parse(&input.job_id);
        let key = input.idempotency_key.as_deref();
        let owner = viewer(ctx)?.owner();
        let retrying = async {
            match owner {
                None => retry_any_job(services(ctx), user.id, &user.into(), job_id, key).await,
                owner => retry_job(services(ctx), user.id, owner, job_id, key).await,
            }
        };
        let job = metrics::request("retry_job", &caller.user.name, retrying).await;
        let (job, user_errors) = outcome(job)?;
        Ok(RetryJobPayload { job, user_errors })
    }
}

fn no_such_host() -> error::UserError {
    error::UserError::new(
        error::UserErrorCode::HostNotFound,
        "hostId",
        "there is no such host: `hosts` lists them, and leaving hostId out lets Wharfinger choose one",
    )
}

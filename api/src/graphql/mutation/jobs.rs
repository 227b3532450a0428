//! Mutations of jobs: requested, cancelled, retried.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_entity::job;
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::cancel_job::{cancel_any_job, cancel_job};
use wharfinger_jobs::commands::retry_job::{retry_any_job, retry_job};
use wharfinger_jobs::error::ServiceError;
use wharfinger_jobs::{error, pull_image, remove_image};

use crate::graphql::context::{caller, mendable, owner, services};
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

/// Makes the payload of a mutation that returns a job.
macro_rules! job_payload {
    ($payload:ident, $doc:literal, $job:literal) => {
        #[doc = $doc]
        #[derive(SimpleObject)]
        pub(crate) struct $payload {
            #[doc = $job]
            job: Option<Job>,
            /// Problems that the caller can fix; empty on success.
            user_errors: Vec<UserError>,
        }

        impl $payload {
            fn of(result: Result<job::Model, ServiceError>) -> Result<Self> {
                Ok(match mendable(result)? {
                    Ok(job) => Self {
                        job: Some(Job(job)),
                        user_errors: Vec::new(),
                    },
                    Err(error) => Self {
                        job: None,
                        user_errors: vec![error.into()],
                    },
                })
            }
        }
    };
}

job_payload!(
    PullImagePayload,
    "The result of `pullImage`.",
    "The job that pulls; null if it was not accepted."
);
job_payload!(
    RemoveImagePayload,
    "The result of `removeImage`.",
    "The job that removes; null if it was not accepted."
);
job_payload!(
    CancelJobPayload,
    "The result of `cancelJob`.",
    "The job: CANCELLED, or RUNNING until its worker has stopped it; null if it cannot be stopped."
);
job_payload!(
    RetryJobPayload,
    "The result of `retryJob`.",
    "The job, QUEUED again; null if it cannot be."
);

#[Object]
impl JobMutation {
    /// Ask for an image on a host. Returns as soon as the request is durably recorded and its credits are held.
    async fn pull_image(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to pull, and where to.")] input: PullImageInput,
    ) -> Result<PullImagePayload> {
        let caller = caller(ctx)?;
        let host = match &input.host_id {
            None => None,
            Some(id) => match Kind::Host.parse(id) {
                Some(id) => Some(id),
                None => return PullImagePayload::of(Err(no_such_host().into())),
            },
        };
        let request = pull_image::PullImage {
            user_id: caller.user.id,
            reference: input.reference,
            host,
            idempotency_key: input.idempotency_key,
            traceparent: caller.traceparent.clone(),
        };
        PullImagePayload::of(
            metrics::request(
                "pull_image",
                &caller.user.name,
                pull_image::accept(services(ctx), &request),
            )
            .await,
        )
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
        RemoveImagePayload::of(
            metrics::request(
                "remove_image",
                &caller.user.name,
                remove_image::accept(services(ctx), &request),
            )
            .await,
        )
    }

    /// Stop a queued, retrying or running job and release what it held.
    async fn cancel_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to stop.")] input: CancelJobInput,
    ) -> Result<CancelJobPayload> {
        let job_id = Kind::Job.parse(&input.job_id);
        let (user, owner) = (&caller(ctx)?.user, owner(ctx)?);
        let cancelling = async {
            match owner {
                None => cancel_any_job(services(ctx), &Actor::from(user), job_id).await,
                owner => cancel_job(services(ctx), owner, job_id).await,
            }
        };
        CancelJobPayload::of(metrics::request("cancel_job", &user.name, cancelling).await)
    }

    /// Run a FAILED, DEAD or CANCELLED job again, holding its credits anew. Its owner or an administrator.
    async fn retry_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to run again.")] input: RetryJobInput,
    ) -> Result<RetryJobPayload> {
        let user = &caller(ctx)?.user;
        let job_id = Kind::Job.parse(&input.job_id);
        let key = input.idempotency_key.as_deref();
        let owner = owner(ctx)?;
        let retrying = async {
            match owner {
                None => retry_any_job(services(ctx), user.id, &user.into(), job_id, key).await,
                owner => retry_job(services(ctx), user.id, owner, job_id, key).await,
            }
        };
        RetryJobPayload::of(metrics::request("retry_job", &user.name, retrying).await)
    }
}

fn no_such_host() -> error::UserError {
    error::UserError::new(
        error::UserErrorCode::HostNotFound,
        "hostId",
        "there is no such host: `hosts` lists them, and leaving hostId out lets Wharfinger choose one",
    )
}

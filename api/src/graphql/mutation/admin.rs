//! Hosts, queues, dead letters, the clean-up, and publishing images: administrators only.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_entity::{ImageVisibility, JobErrorCode, host, image, job};
use wharfinger_jobs::commands::discard_job::discard_job;
use wharfinger_jobs::commands::retry_dead_jobs::{DeadJobs, Redriven, retry_dead_jobs};
use wharfinger_jobs::commands::set_host_schedulable::set_host_schedulable;
use wharfinger_jobs::commands::set_image_visibility::set_image_visibility;
use wharfinger_jobs::commands::set_queue_paused::set_queue_paused;
use wharfinger_jobs::error;
use wharfinger_jobs::queries::queues;
use wharfinger_jobs::sweep_images;

use crate::graphql::context::{actor, caller, internal, load, outcome, services};
use crate::graphql::ids::Kind;
use crate::graphql::loaders::ImageId;
use crate::graphql::types::{Host, Image, Job, Queue, UserError};

/// Mutations of administrators.
#[derive(Default)]
pub(super) struct AdminMutation;

/// The visibility of an image.
#[derive(InputObject)]
pub(crate) struct SetImageVisibilityInput {
    /// The image, as any of its holders has it on the host where it is to be public.
    image_id: ID,
    /// PUBLIC publishes it; PRIVATE is refused for an image that is public.
    visibility: ImageVisibility,
}

/// The result of `setImageVisibility`.
#[derive(SimpleObject)]
pub(crate) struct SetImageVisibilityPayload {
    /// The image as everyone sees it now, with an id of its own; null if it was not published.
    image: Option<Image>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// Whether new jobs may be placed on a host.
#[derive(InputObject)]
pub(crate) struct SetHostSchedulableInput {
    /// The host.
    host_id: ID,
    /// False drains it, true lets new jobs onto it again.
    schedulable: bool,
}

/// The result of `setHostSchedulable`.
#[derive(SimpleObject)]
pub(crate) struct SetHostSchedulablePayload {
    /// The host as it is now; null if there is no such host.
    host: Option<Host>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// A queue to pause or resume.
#[derive(InputObject)]
pub(crate) struct SetQueuePausedInput {
    /// The queue's name: that of its host.
    queue: String,
    /// True pauses the queue, false resumes it.
    paused: bool,
}

/// The result of `setQueuePaused`.
#[derive(SimpleObject)]
pub(crate) struct SetQueuePausedPayload {
    /// The queue as it is now; null if there is no such queue.
    queue: Option<Queue>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// The dead letters to run again.
#[derive(InputObject)]
pub(crate) struct RetryDeadJobsInput {
    /// Only those of this queue. Left out, those of every queue.
    queue: Option<String>,
    /// Only those with this error. Left out, those with any.
    error_code: Option<JobErrorCode>,
    /// Most dead letters to run, 1 to 1000.
    #[graphql(default = 100)]
    limit: i32,
}

/// The result of `retryDeadJobs`.
#[derive(SimpleObject)]
pub(crate) struct RetryDeadJobsPayload {
    /// The jobs, QUEUED again, oldest first.
    jobs: Vec<Job>,
    /// One for each job that could not be run again, beginning with its id: such jobs stay DEAD. At most a hundred are
    /// named, and a last one says how many more there are, and whether to repeat the mutation for the rest.
    user_errors: Vec<UserError>,
}

/// A dead letter to discard.
#[derive(InputObject)]
pub(crate) struct DiscardJobInput {
    /// The job, which must be DEAD.
    job_id: ID,
}

/// The result of `discardJob`.
#[derive(SimpleObject)]
pub(crate) struct DiscardJobPayload {
    /// The job, still DEAD and off the list; null if it is not a dead letter.
    job: Option<Job>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// The hosts to clean up.
#[derive(InputObject)]
pub(crate) struct SweepImagesInput {
    /// The hosts. Left out, every host; an empty list sweeps none.
    host_ids: Option<Vec<ID>>,
}

/// The result of `sweepImages`.
#[derive(SimpleObject)]
pub(crate) struct SweepImagesPayload {
    /// The first hundred removals, one for each holding, of the holders: new ones, and those under way already. The others
    /// follow, and `jobs` shows them.
    jobs: Vec<Job>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// Returns the problems of a redrive.
fn refusals(redriven: &Redriven) -> Vec<UserError> {
    let mut errors: Vec<UserError> = redriven
        .refused
        .iter()
        .map(|(id, error)| UserError::of_job(&Kind::Job.id(*id), error))
        .collect();
    let mut further = Vec::new();
    if redriven.more_refused > 0 {
        let more = redriven.more_refused;
        further.push(format!("{more} more jobs could not be run again"));
    }
    if redriven.unfinished {
        further.push("there are more dead letters: call retryDeadJobs again".to_owned());
    }
    if !further.is_empty() {
        let code = error::UserErrorCode::JobNotRetryable;
        errors.push(error::UserError::whole(code, further.join("; ")).into());
    }
    errors
}

#[Object]
impl AdminMutation {
    /// Administrators only: publish an image. Everyone may use it from then on, free of charge: each holder of the same
    /// image id on that host is refunded once, their private holdings of it end, and their queued removals succeed. Making
    /// a public image private again is refused (NOT_REMOVABLE).
    async fn set_image_visibility(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which image, and who is to see it.")] input: SetImageVisibilityInput,
    ) -> Result<SetImageVisibilityPayload> {
        let actor = actor(ctx)?;
        let image_id = Kind::Image.parse(&input.image_id);
        let set = set_image_visibility(services(ctx), &actor, image_id, input.visibility).await;
        let (image, user_errors): (Option<image::Model>, _) = outcome(set)?;
        let image = load(ctx, image.map(|image| ImageId(image.id))).await?;
        Ok(SetImageVisibilityPayload { image, user_errors })
    }

    /// Administrators only: stop (or resume) placing new jobs on a host. On a host that takes no new jobs the running ones
    /// end, and so do removals, pulls whose user named the host, and pulls that its engine has begun; other waiting pulls
    /// move to another host, if one takes jobs.
    async fn set_host_schedulable(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which host, and whether.")] input: SetHostSchedulableInput,
    ) -> Result<SetHostSchedulablePayload> {
        let actor = actor(ctx)?;
        let host_id = Kind::Host.parse(&input.host_id);
        let host = set_host_schedulable(services(ctx), &actor, host_id, input.schedulable).await;
        let (host, user_errors) = outcome(host)?;
        Ok(SetHostSchedulablePayload { host, user_errors })
    }

    /// Administrators only: stop (or resume) starting jobs of a queue.
    async fn set_queue_paused(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which queue, and whether.")] input: SetQueuePausedInput,
    ) -> Result<SetQueuePausedPayload> {
        let actor = actor(ctx)?;
        let services = services(ctx);
        let host = set_queue_paused(services, &actor, &input.queue, input.paused).await;
        let (host, user_errors): (Option<host::Model>, _) = outcome(host)?;
        let depth = match host {
            Some(host) => queues::depth(&services.db, host.id, services.clock.now())
                .await
                .map_err(|error| internal(&error))?,
            None => None,
        };
        let queue = depth.map(Queue::from);
        Ok(SetQueuePausedPayload { queue, user_errors })
    }

    /// Administrators only: redrive dead letters, oldest first. Each is accepted anew and holds its credits anew; one that
    /// its user cannot afford is named in userErrors, and the others are still run. Repeated, it runs the rest, and those
    /// last that it refused before. Discarded jobs are skipped.
    async fn retry_dead_jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which, and how many.")] input: RetryDeadJobsInput,
    ) -> Result<RetryDeadJobsPayload> {
        let actor = actor(ctx)?;
        let which = DeadJobs {
            queue: input.queue,
            error_code: input.error_code,
            limit: input.limit,
        };
        let redriven = retry_dead_jobs(services(ctx), &actor, &which).await;
        let (redriven, mut user_errors) = outcome::<_, Redriven>(redriven)?;
        let redriven = redriven.unwrap_or_default();
        user_errors.extend(refusals(&redriven));
        let jobs = redriven.jobs.into_iter().map(Job).collect();
        Ok(RetryDeadJobsPayload { jobs, user_errors })
    }

    /// Administrators only: take a dead letter off the list. The job stays DEAD; `retryJob` still runs it again.
    async fn discard_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which.")] input: DiscardJobInput,
    ) -> Result<DiscardJobPayload> {
        let actor = actor(ctx)?;
        let job = discard_job(services(ctx), &actor, Kind::Job.parse(&input.job_id)).await;
        let (job, user_errors) = outcome(job)?;
        Ok(DiscardJobPayload { job, user_errors })
    }

    /// Administrators only: remove every private image not in use on the chosen hosts and refund their holders, as the nightly clean-up does.
    async fn sweep_images(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "On which hosts.")] input: SweepImagesInput,
    ) -> Result<SweepImagesPayload> {
        let request = sweep_images::SweepImages {
            actor: actor(ctx)?,
            hosts: input
                .host_ids
                .map(|ids| ids.iter().map(|id| Kind::Host.parse(id)).collect()),
            traceparent: caller(ctx)?.traceparent.clone(),
        };
        let swept = sweep_images::sweep_images(services(ctx), &request).await;
        let (jobs, user_errors) = outcome::<_, Vec<job::Model>>(swept)?;
        let jobs = jobs.into_iter().flatten().map(Job).collect();
        Ok(SweepImagesPayload { jobs, user_errors })
    }
}

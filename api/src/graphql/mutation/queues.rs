//! Queues, dead letters and the clean-up: administrators only.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_jobs::commands::discard_job::discard_job;
use wharfinger_jobs::commands::retry_dead_jobs::{DeadJobs, Redriven, retry_dead_jobs};
use wharfinger_jobs::commands::set_queue_paused::set_queue_paused;
use wharfinger_jobs::error;
use wharfinger_jobs::queries::queues;
use wharfinger_jobs::sweep_images;

use crate::graphql::context::{actor, caller, database, mendable, services};
use crate::graphql::enums::JobErrorCode;
use crate::graphql::ids::Kind;
use crate::graphql::types::{Job, Queue, UserError};

/// Queues, dead letters and the clean-up: administrators only.
#[derive(Default)]
pub(super) struct QueueMutation;

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
impl QueueMutation {
    /// Administrators only: stop (or resume) starting jobs of a queue.
    async fn set_queue_paused(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which queue, and whether.")] input: SetQueuePausedInput,
    ) -> Result<SetQueuePausedPayload> {
        let actor = actor(ctx)?;
        let services = services(ctx);
        let host = set_queue_paused(services, &actor, &input.queue, input.paused).await;
        Ok(match mendable(host)? {
            Ok(host) => SetQueuePausedPayload {
                queue: queues::depth(&services.db, host.id, services.clock.now())
                    .await
                    .map_err(|error| database(&error))?
                    .map(Queue::from),
                user_errors: Vec::new(),
            },
            Err(error) => SetQueuePausedPayload {
                queue: None,
                user_errors: vec![error.into()],
            },
        })
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
            error_code: input.error_code.map(Into::into),
            limit: input.limit,
        };
        let redriven = retry_dead_jobs(services(ctx), &actor, &which).await;
        Ok(match mendable(redriven)? {
            Ok(redriven) => RetryDeadJobsPayload {
                user_errors: refusals(&redriven),
                jobs: redriven.jobs.into_iter().map(Job).collect(),
            },
            Err(error) => RetryDeadJobsPayload {
                jobs: Vec::new(),
                user_errors: vec![error.into()],
            },
        })
    }

    /// Administrators only: take a dead letter off the list. The job stays DEAD; `retryJob` still runs it again.
    async fn discard_job(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which.")] input: DiscardJobInput,
    ) -> Result<DiscardJobPayload> {
        let actor = actor(ctx)?;
        let job = discard_job(services(ctx), &actor, Kind::Job.parse(&input.job_id)).await;
        Ok(match mendable(job)? {
            Ok(job) => DiscardJobPayload {
                job: Some(Job(job)),
                user_errors: Vec::new(),
            },
            Err(error) => DiscardJobPayload {
                job: None,
                user_errors: vec![error.into()],
            },
        })
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
        Ok(match mendable(swept)? {
            Ok(jobs) => SweepImagesPayload {
                jobs: jobs.into_iter().map(Job).collect(),
                user_errors: Vec::new(),
            },
            Err(error) => SweepImagesPayload {
                jobs: Vec::new(),
                user_errors: vec![error.into()],
            },
        })
    }
}

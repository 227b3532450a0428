//! A job and its attempts.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_entity::{JobErrorCode, JobKind, JobState, job, job_attempt};
use wharfinger_jobs::live::progress_event::ProgressEvent;
use wharfinger_jobs::queries::jobs;

use super::image::Missing;
use super::rows::Row;
use super::size::List;
use super::{Host, Image, PullProgress, User};
use crate::graphql::context::{internal, load};
use crate::graphql::ids::Kind;
use crate::graphql::loaders::{AttemptsOf, ImageId, UserId};
use crate::graphql::scalars::{Credits, DateTime};

/// A unit of accepted work.
#[derive(Clone)]
pub(crate) struct Job(pub(crate) job::Model);

impl From<job::Model> for Job {
    fn from(job: job::Model) -> Self {
        Self(job)
    }
}

/// One attempt of a job.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct JobAttempt {
    /// 1 for the first.
    number: i32,
    /// The worker that ran it.
    worker: String,
    /// When it began.
    started_at: DateTime,
    /// When it ended; null while it runs.
    finished_at: Option<DateTime>,
    /// Why it failed; null if it did not.
    error: Option<JobError>,
}

impl From<job_attempt::Model> for JobAttempt {
    fn from(attempt: job_attempt::Model) -> Self {
        Self {
            number: attempt.number,
            worker: attempt.worker,
            started_at: attempt.started_at.into(),
            finished_at: attempt.finished_at.map(DateTime::from),
            error: JobError::new(
                attempt.error_code,
                attempt.error_message.map(String::from),
                attempt.error_retryable,
            ),
        }
    }
}

/// Why an attempt failed.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct JobError {
    /// The kind of error, for programs.
    code: JobErrorCode,
    /// A message for people, in the words of the engine or the registry where there are any.
    message: String,
    /// Whether another attempt may succeed.
    retryable: bool,
}

impl JobError {
    fn new(
        code: Option<JobErrorCode>,
        message: Option<String>,
        retryable: Option<bool>,
    ) -> Option<Self> {
        code.map(|code| Self {
            code,
            message: message.unwrap_or_default(),
            retryable: retryable.unwrap_or_default(),
        })
    }
}

impl Row for Job {
    const WAITING: &'static [&'static str] = &["host", "requestedBy", "image", "attempts"];
}

/// A unit of accepted work: it will end in a final state, whatever crashes.
#[Object]
impl Job {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::Job.id(self.0.id)
    }

    /// The kind of job.
    async fn kind(&self) -> JobKind {
        self.0.kind
    }

    /// The state of the job.
    async fn state(&self) -> JobState {
        self.0.state
    }

    /// The image's reference, fully qualified; null for a kind of job without an image.
    async fn reference(&self) -> Option<&str> {
        Some(&self.0.reference)
    }

    /// The host that runs it. Null until it is placed.
    async fn host(&self, ctx: &Context<'_>) -> Result<Option<Host>> {
        match self.0.host_id {
            Some(id) => Host::load_one(ctx, id).await.map(Some),
            None => Ok(None),
        }
    }

    /// The user who requested it.
    async fn requested_by(&self, ctx: &Context<'_>) -> Result<User> {
        let user = load(ctx, Some(UserId(self.0.user_id))).await?;
        user.ok_or_else(|| internal(&Missing("user")))
    }

    /// The image that it made, or was asked to remove. Null for a pull that has not succeeded.
    async fn image(&self, ctx: &Context<'_>) -> Result<Option<Image>> {
        load(ctx, self.0.image_id.map(ImageId)).await
    }

    /// Tries started so far.
    async fn attempt(&self) -> i32 {
        self.0.attempt
    }

    /// Most attempts.
    async fn max_attempts(&self) -> i32 {
        self.0.max_attempts
    }

    /// The attempts so far, the first one first. Attempts that do not count (a registry's limit that is waited out, an
    /// engine that fell silent) have no bound, so only the first ten and the newest forty are kept, with their numbers.
    async fn attempts(&self, ctx: &Context<'_>) -> Result<List<JobAttempt>> {
        let attempts = load(ctx, Some(AttemptsOf(self.0.id))).await?;
        Ok(List(attempts.unwrap_or_default()))
    }

    /// Why it ended or is waiting to try again. Null where nothing went wrong.
    async fn error(&self) -> Option<JobError> {
        JobError::new(
            self.0.error_code,
            self.0.error_message.clone().map(String::from),
            self.0.error_retryable,
        )
    }

    /// Credits that it holds now.
    async fn held(&self) -> Credits {
        self.0.held.into()
    }

    /// The last known progress of a pull; null for a removal.
    async fn progress(&self) -> Option<PullProgress> {
        (self.0.kind == JobKind::PullImage).then(|| PullProgress {
            job_id: self.0.id,
            frame: ProgressEvent::of(&self.0).into(),
        })
    }

    /// When it was accepted.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When its first attempt began; null before.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime::from)
    }

    /// When it ended; null before.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime::from)
    }

    /// Earliest time of its next attempt; null unless it waits for one.
    async fn next_attempt_at(&self) -> Option<DateTime> {
        (self.0.state == JobState::Retrying).then(|| self.0.run_after.into())
    }

    /// When an administrator took this dead letter off the list. Null for every other job.
    async fn discarded_at(&self) -> Option<DateTime> {
        self.0.discarded_at.map(DateTime::from)
    }
}

/// A filter of jobs.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct JobFilter {
    /// In one of these states.
    states: Option<Vec<JobState>>,
    /// Of one of these kinds.
    kinds: Option<Vec<JobKind>>,
    /// Only on this host.
    host_id: Option<ID>,
    /// Administrators only.
    pub(crate) user_id: Option<ID>,
}

impl From<JobFilter> for jobs::JobFilter {
    fn from(filter: JobFilter) -> Self {
        Self {
            states: filter.states,
            kinds: filter.kinds,
            host_id: Kind::Host.filtered(filter.host_id),
            user_id: Kind::User.filtered(filter.user_id),
        }
    }
}

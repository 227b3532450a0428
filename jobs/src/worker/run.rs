//! One attempt of one job, from the claim to what is recorded of it.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sea_orm::EntityTrait;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobKind, JobState, job};

use crate::announce;
use crate::claim::{self, Lease, Renewal};
use crate::custody::ChangeError;
use crate::engine::EngineError;
use crate::error::{JobFailure, ServiceError, Then};
use crate::frame::{ProgressFrame, may_be_told};
use crate::outcome::Outcome;
use crate::progress::PullSnapshot;
use crate::pull_image::ahead::Ahead;
use crate::pull_image::put_back;
use crate::pull_image::resolve::rate_limited;
use crate::queue::Dispatch;
use crate::reconcile::ReconcileError;
use crate::trace;
use crate::worker::Parts;
use crate::{pull_image, reconcile, remove_image};

/// How long a job waits for an engine that fell silent before it is offered again. Its worker claims nothing until the
/// engine answers, so this only spaces the offers.
pub(crate) const ENGINE_PAUSE: Duration = Duration::from_secs(1);

/// How seldom an attempt saves its progress, however long the lease is: what it tells in between has to fit into the sequence
/// numbers that a claim sets aside.
const SAVE_AT_LEAST: Duration = Duration::from_secs(30);

/// How soon it is tried again to record the end of an attempt.
const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// How many attempts of a job the database may refuse to record.
const UNRECORDABLE_AT_MOST: i32 = 5;

/// Why an attempt did not reach its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The attempt failed.
    #[error(transparent)]
    Failed(#[from] JobFailure),
    /// The database, or an account, is not as it must be: what came of the attempt cannot be recorded.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<sea_orm::DbErr> for RunError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Service(error.into())
    }
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> Self {
        Self::Failed(engine_failure(&error))
    }
}

impl From<ChangeError> for RunError {
    fn from(error: ChangeError) -> Self {
        match error {
            // The database was away, or the engine slow: the fault is not the job's.
            ChangeError::LockLost(lost) => Self::Failed(JobFailure::retry_free(
                JobErrorCode::Internal,
                lost.to_string(),
                RECORD_PAUSE,
            )),
            ChangeError::Database(error) => error.into(),
            ChangeError::Engine(error) => error.into(),
        }
    }
}

/// What the engine's error means for a job.
pub(crate) fn engine_failure(error: &EngineError) -> JobFailure {
    use JobErrorCode as Code;
    let message = error.to_string();
    match error {
        EngineError::NotFound(_) => JobFailure::fail(Code::ImageNotFound, message),
        EngineError::Denied(_) => JobFailure::fail(Code::RegistryDenied, message),
        EngineError::RegistryUnavailable(_) => {
            JobFailure::retry(Code::RegistryUnavailable, message)
        }
        // An engine does not pass Retry-After on.
        EngineError::RateLimited(_) => rate_limited(message, Duration::ZERO),
        EngineError::DiskFull(_) => JobFailure::retry(Code::DiskFull, message),
        EngineError::Unavailable { .. } => {
            JobFailure::retry_free(Code::EngineUnavailable, message, ENGINE_PAUSE)
        }
        EngineError::InUse(_) => JobFailure::fail(Code::ImageInUse, message),
        EngineError::Unsupported(_) => JobFailure::fail(Code::ImageUnsupported, message),
        EngineError::Conflict(_) | EngineError::Other { .. } => {
            JobFailure::retry(Code::Internal, message)
        }
    }
}

/// A running attempt.
pub(crate) struct JobRun {
    pub(crate) parts: Arc<Parts>,
    pub(crate) host_id: Uuid,
    pub(crate) job: job::Model,
    pub(crate) lease: Lease,
    /// The user wants it stopped.
    pub(crate) cancel: CancellationToken,
    /// The worker stops and gives it back.
    pub(crate) hand_back: CancellationToken,
    /// Somebody else has it.
    lost: CancellationToken,
    sequence: AtomicI32,
    /// The sequence number that the job's row has.
    saved: AtomicI32,
    snapshot: Mutex<PullSnapshot>,
    ahead: Mutex<Option<Ahead>>,
}

impl JobRun {
    fn new(
        parts: Arc<Parts>,
        host_id: Uuid,
        job: job::Model,
        lease: Lease,
        ahead: Option<Ahead>,
    ) -> Self {
        let frame = ProgressFrame::of(&job);
        Self {
            hand_back: parts.hand_back.child_token(),
            parts,
            host_id,
            lease,
            cancel: CancellationToken::new(),
            lost: CancellationToken::new(),
            sequence: AtomicI32::new(job.sequence),
            saved: AtomicI32::new(job.sequence),
            snapshot: Mutex::new(frame.snapshot),
            ahead: Mutex::new(ahead.filter(|ahead| ahead.reference == job.reference)),
            job,
        }
    }

    /// The progress as last reported, under a new sequence number.
    pub(crate) fn frame(&self) -> ProgressFrame {
        ProgressFrame {
            sequence: self.sequence.fetch_add(1, Ordering::SeqCst) + 1,
            state: JobState::Running,
            attempt: self.lease.attempt,
            snapshot: self
                .snapshot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            updated_at: self.parts.services.clock.now().micros(),
        }
    }

    /// What was begun to be read with the claim, once.
    pub(crate) fn take_ahead(&self) -> Option<Ahead> {
        self.ahead
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Reports progress to whoever watches.
    pub(crate) fn report(&self, snapshot: PullSnapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        self.tell();
    }

    /// Tells whoever watches how far it is.
    pub(crate) fn tell(&self) {
        let frame = self.frame();
        if may_be_told(self.saved.load(Ordering::SeqCst), frame.sequence) {
            announce::progress(&self.parts.services.events, self.job.id, &frame);
        }
    }

    /// Completes when the attempt has to stop before its end, with what is to be recorded.
    pub(crate) async fn interrupted(&self) -> Option<Outcome> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => None,
            () = self.cancel.cancelled() => Some(Outcome::Cancelled),
            () = self.hand_back.cancelled() => Some(Outcome::HandedBack),
        }
    }

    /// Proves that the lease is held, before the engine is asked for what only the newest attempt may ask for. Where it was
    /// lost, this never completes, and the attempt is interrupted.
    pub(crate) async fn prove_lease(&self) -> Result<(), sea_orm::DbErr> {
        match claim::renew(&self.parts.services, &self.lease, None).await? {
            Renewal::Held | Renewal::CancelRequested => Ok(()),
            Renewal::Lost => {
                self.lost.cancel();
                std::future::pending().await
            }
        }
    }

    /// Does something, and keeps the lease meanwhile.
    async fn with_lease<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            () = self.keep_lease() => unreachable!("the lease is kept until the work is done"),
        }
    }

    /// Keeps the lease, until dropped.
    async fn keep_lease(&self) {
        let lease = self.parts.services.settings.worker.lease;
        let mut ticks = tokio::time::interval((lease / 3).min(SAVE_AT_LEAST));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = ticks.tick().await;
        loop {
            let now = ticks.tick().await;
            let frame = (self.job.kind == JobKind::PullImage).then(|| self.frame());
            match claim::renew(&self.parts.services, &self.lease, frame.as_ref()).await {
                Ok(held @ (Renewal::Held | Renewal::CancelRequested)) => {
                    renewed = now;
                    if let Some(frame) = frame {
                        self.saved.store(frame.sequence, Ordering::SeqCst);
                    }
                    if held == Renewal::CancelRequested {
                        self.cancel.cancel();
                    }
                }
                Ok(Renewal::Lost) => {
                    tracing::warn!("lost the lease: leaving the job to whoever has it");
                    self.lost.cancel();
                }
                // Somebody else may have it by now, and gets it only when it is let go of here: the queue holds it so long.
                Err(error) if renewed.elapsed() >= lease => {
                    tracing::warn!(%error, "could not renew the lease until it ran out: leaving the job");
                    self.lost.cancel();
                }
                Err(error) => tracing::warn!(%error, "could not renew the lease"),
            }
        }
    }
}

/// Claims the job and runs one attempt of it. Returns when there is nothing left to do here.
pub(crate) async fn run(parts: &Arc<Parts>, host_id: Uuid, dispatch: Dispatch) {
    let services = &parts.services;
    let (job_id, attempt) = (dispatch.job_id, dispatch.attempt);
    let trace_id = trace::id_of(dispatch.traceparent.as_deref(), job_id);
    tracing::debug!(job.id = %job_id, job.attempt = attempt, trace_id, "the queue gave a job");
    // Whoever loses the claim drops what is being read.
    let ahead = dispatch.pulls.and_then(|reference| {
        let span = trace::ahead(job_id, attempt + 1, dispatch.traceparent.as_deref());
        let begin = || span.in_scope(|| Ahead::begin(parts, host_id, reference));
        parts.coming.come(job_id, begin, std::time::Instant::now())
    });
    let (job, lease) = match claim::claim(services, host_id, &parts.worker, job_id).await {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(job.id = %job_id, job.attempt = attempt, trace_id, %error, "could not claim a job");
            return;
        }
    };
    let span = trace::attempt(&job, &parts.host);
    let run = Arc::new(JobRun::new(Arc::clone(parts), host_id, job, lease, ahead));
    let _registered = parts.running.register(&run);
    async {
        tracing::info!(reference = %run.job.reference, "attempt began");
        let middle = async {
            match run.job.kind {
                JobKind::PullImage => Box::pin(pull_image::run::run(&run)).await,
                JobKind::RemoveImage => Box::pin(remove_image::run::run(&run)).await,
            }
        };
        let noted = claim::noting(services, &run.job, middle);
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
                run.parts.engine_answers.send_replace(false);
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
    let (services, engine) = (&run.parts.services, &run.parts.engine);
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
        done = put_back::of_job(services, engine, &job, Some(job.id)) => done,
        // Whoever has the job now may have moved the tag.
        () = run.lost.cancelled() => Ok(()),
    }
}

/// Records the end of the attempt; tries again for as long as the lease lasts when the database does not answer.
async fn end(run: &JobRun, outcome: Outcome) -> Result<Option<job::Model>, ServiceError> {
    let services = &run.parts.services;
    let until = tokio::time::Instant::now() + services.settings.worker.lease;
    let mut outcome = outcome;
    let mut recordable = true;
    loop {
        match claim::end(services, &run.lease, outcome.clone()).await {
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
    let (services, engine) = (&run.parts.services, &run.parts.engine);
    let tidied = async {
        if job.kind == JobKind::PullImage && job.state != JobState::Succeeded {
            // It may have been tried again since, and be under way.
            Box::pin(put_back::of_job(services, engine, job, None)).await?;
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

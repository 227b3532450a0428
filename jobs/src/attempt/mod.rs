//! One attempt of one job: its lease, its progress, and the transfers that attempts share.

mod end;
mod job;
pub(crate) mod transfers;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{JobState, job::Model};

pub(crate) use self::end::{AttemptEnd, record};
pub(crate) use self::job::{Job, Limits, Retry};

use crate::engine::{Engine, EngineInfo};
use crate::job::lease::{self, Known, Lease, Renewal};
use crate::live::notify;
use crate::live::progress_event::{ProgressEvent, is_within_reserve};
use crate::progress::PullSnapshot;
use crate::registry::RegistryClient;
use crate::services::Services;
use transfers::Transfers;

/// The parts of a worker that its attempts use.
pub(crate) struct WorkerContext {
    pub(crate) services: Services,
    pub(crate) engine: Engine,
    pub(crate) registry: RegistryClient,
    /// Name of its host.
    pub(crate) host: String,
    /// Name of this worker, unique in the fleet.
    pub(crate) worker: String,
    pub(crate) running: Running,
    pub(crate) transfers: Transfers,
    /// Running attempts are to be given back.
    pub(crate) hand_back: CancellationToken,
    /// Whether the engine answered when last asked.
    pub(crate) engine_answers: watch::Sender<bool>,
    /// The engine's last description of itself; none until it has answered.
    pub(crate) info: watch::Receiver<Option<EngineInfo>>,
}

/// The longest time between two saves of an attempt's progress, however long the lease is: the events in between have to fit into
/// the sequence numbers that a claim sets aside.
const SAVE_AT_LEAST: Duration = Duration::from_secs(30);

/// A running attempt.
pub(crate) struct JobRun {
    pub(crate) context: Arc<WorkerContext>,
    pub(crate) kind: &'static dyn Job,
    pub(crate) host_id: Uuid,
    pub(crate) job: Model,
    pub(crate) lease: Lease,
    pub(crate) known: Known,
    /// The job is to be cancelled.
    pub(crate) cancel: CancellationToken,
    /// The worker stops, and the job is to go on elsewhere.
    pub(crate) hand_back: CancellationToken,
    /// The lease is lost: another attempt may have the job.
    pub(crate) lost: CancellationToken,
    sequence: AtomicI32,
    /// The sequence number that the job's row has.
    saved: AtomicI32,
    snapshot: Mutex<PullSnapshot>,
}

impl JobRun {
    pub(crate) fn new(
        context: Arc<WorkerContext>,
        kind: &'static dyn Job,
        host_id: Uuid,
        job: Model,
        lease: Lease,
        known: Known,
    ) -> Self {
        let frame = ProgressEvent::of(&job);
        Self {
            hand_back: context.hand_back.child_token(),
            context,
            kind,
            host_id,
            lease,
            known,
            cancel: CancellationToken::new(),
            lost: CancellationToken::new(),
            sequence: AtomicI32::new(job.sequence),
            saved: AtomicI32::new(job.sequence),
            snapshot: Mutex::new(frame.snapshot),
            job,
        }
    }

    /// The progress as last reported, under a new sequence number.
    pub(crate) fn frame(&self) -> ProgressEvent {
        ProgressEvent {
            sequence: self.sequence.fetch_add(1, Ordering::SeqCst) + 1,
            state: JobState::Running,
            attempt: self.lease.attempt,
            snapshot: self.snapshot.lock().clone(),
            updated_at: self.context.services.clock.now().micros(),
        }
    }

    /// Sets the progress, and tells watchers.
    pub(crate) fn report(&self, snapshot: PullSnapshot) {
        *self.snapshot.lock() = snapshot;
        self.tell();
    }

    /// Tells watchers the progress, unless the sequence number that it would have may be another attempt's.
    pub(crate) fn tell(&self) {
        let frame = self.frame();
        if is_within_reserve(self.saved.load(Ordering::SeqCst), frame.sequence) {
            notify::progress(&self.context.services.events, self.job.id, &frame);
        }
    }

    /// Completes when the attempt has to stop before its end, with what it then came to.
    pub(crate) async fn interrupted(&self) -> AttemptEnd {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => AttemptEnd::LeaseLost,
            () = self.cancel.cancelled() => AttemptEnd::Cancelled,
            () = self.hand_back.cancelled() => AttemptEnd::HandedBack,
        }
    }

    /// Proves that the lease is held, before the engine is asked for what only the newest attempt may ask for. Where it was
    /// lost, this never completes, and the attempt is interrupted.
    pub(crate) async fn prove_lease(&self) -> Result<(), sea_orm::DbErr> {
        if !lease::prove(&self.context.services, &self.lease).await? {
            self.lost.cancel();
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Does something, and keeps the lease meanwhile.
    pub(crate) async fn with_lease<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            done = work => done,
            () = self.keep_lease() => unreachable!("the lease is kept until the work is done"),
        }
    }

    /// Keeps the lease, until dropped.
    async fn keep_lease(&self) {
        let lease = self.context.services.settings.worker.lease;
        let mut ticks = tokio::time::interval((lease / 3).min(SAVE_AT_LEAST));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = ticks.tick().await;
        loop {
            let now = ticks.tick().await;
            let frame = self.kind.saves_progress().then(|| self.frame());
            match lease::renew(&self.context.services, &self.lease, frame.as_ref()).await {
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
                    tracing::warn!("lost the lease: another attempt has the job, or it has ended");
                    self.lost.cancel();
                }
                // Another attempt may have begun by now.
                Err(error) if renewed.elapsed() >= lease => {
                    tracing::warn!(%error, "could not renew the lease until it ran out: leaving the job");
                    self.lost.cancel();
                }
                Err(error) => tracing::warn!(%error, "could not renew the lease"),
            }
        }
    }
}

/// The running attempts, by job. An attempt that ended is not among them.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<Uuid, Weak<JobRun>>>>);

impl Running {
    /// Lists an attempt until it is dropped, in the place of an earlier one of its job.
    pub(crate) fn register(&self, run: &Arc<JobRun>) {
        let mut running = self.0.lock();
        running.retain(|_, run| run.strong_count() > 0);
        running.insert(run.job.id, Arc::downgrade(run));
    }

    /// The attempt of this job, if it runs here.
    pub(crate) fn of(&self, job_id: Uuid) -> Option<Arc<JobRun>> {
        self.0.lock().get(&job_id).and_then(Weak::upgrade)
    }

    /// How many run.
    #[cfg(feature = "testing")]
    pub(crate) fn count(&self) -> usize {
        let running = self.0.lock();
        running
            .values()
            .filter(|run| run.strong_count() > 0)
            .count()
    }
}

//! One attempt of one job: its lease, its progress, and the transfers that attempts share.

pub(crate) mod running;
pub(crate) mod transfers;

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{JobKind, JobState, job};

use crate::engine::{Engine, EngineInfo};
use crate::job::lease::{self, Lease, Renewal};
use crate::job::transition::Outcome;
use crate::live::notify;
use crate::live::progress_event::{ProgressEvent, may_be_told};
use crate::progress::PullSnapshot;
use crate::registry::RegistryClient;
use crate::services::Services;
use running::Running;
use transfers::Transfers;

/// What every running attempt uses.
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
    /// What the engine last said of itself.
    pub(crate) info: watch::Receiver<Option<EngineInfo>>,
}

/// How seldom an attempt saves its progress, however long the lease is: what it tells in between has to fit into the sequence
/// numbers that a claim sets aside.
const SAVE_AT_LEAST: Duration = Duration::from_secs(30);

/// A running attempt.
pub(crate) struct JobRun {
    pub(crate) context: Arc<WorkerContext>,
    pub(crate) host_id: Uuid,
    pub(crate) job: job::Model,
    pub(crate) lease: Lease,
    /// The user wants it stopped.
    pub(crate) cancel: CancellationToken,
    /// The worker stops and gives it back.
    pub(crate) hand_back: CancellationToken,
    /// Somebody else has it.
    pub(crate) lost: CancellationToken,
    sequence: AtomicI32,
    /// The sequence number that the job's row has.
    saved: AtomicI32,
    snapshot: Mutex<PullSnapshot>,
}

impl JobRun {
    pub(crate) fn new(
        context: Arc<WorkerContext>,
        host_id: Uuid,
        job: job::Model,
        lease: Lease,
    ) -> Self {
        let frame = ProgressEvent::of(&job);
        Self {
            hand_back: context.hand_back.child_token(),
            context,
            host_id,
            lease,
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
            snapshot: self
                .snapshot
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            updated_at: self.context.services.clock.now().micros(),
        }
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
            notify::progress(&self.context.services.events, self.job.id, &frame);
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
        match lease::renew(&self.context.services, &self.lease, None).await? {
            Renewal::Held | Renewal::CancelRequested => Ok(()),
            Renewal::Lost => {
                self.lost.cancel();
                std::future::pending().await
            }
        }
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
            let frame = (self.job.kind == JobKind::PullImage).then(|| self.frame());
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

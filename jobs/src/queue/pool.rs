//! The handlers of one worker. They outlive the apalis worker that fed them: apalis drops its running
//! tasks at any Redis error, and a pull of half an hour must not end with a hiccup of the queue.

use std::convert::Infallible;
use std::future::{Ready, ready as at_once};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use apalis_core::monitor::Monitor;
use apalis_core::task::Task;
use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard, PollSemaphore};
use tokio_util::task::TaskTracker;
use tower::Service;

use super::Dispatch;
use crate::infra::trace;

/// At most `concurrency` handlers at a time, however many apalis workers come and go meanwhile.
pub(super) struct Pool<H> {
    handler: Arc<H>,
    slots: Arc<Semaphore>,
    running: TaskTracker,
    stop: CancellationToken,
    abandon: CancellationToken,
    _abandon_on_drop: DropGuard,
}

impl<H> Pool<H> {
    pub(super) fn new(concurrency: usize, handler: H, stop: CancellationToken) -> Self {
        let abandon = CancellationToken::new();
        Self {
            handler: Arc::new(handler),
            slots: Arc::new(Semaphore::new(concurrency.max(1))),
            running: TaskTracker::new(),
            stop,
            _abandon_on_drop: abandon.clone().drop_guard(),
            abandon,
        }
    }

    /// What an apalis worker calls for each message: it starts a handler and returns.
    pub(super) fn service(&self) -> Handlers<H> {
        Handlers {
            handler: self.handler.clone(),
            slots: PollSemaphore::new(self.slots.clone()),
            slot: None,
            running: self.running.clone(),
            stop: self.stop.clone(),
            abandon: self.abandon.clone(),
        }
    }

    /// Waits for the handlers that still run.
    pub(super) async fn drained(&self) {
        self.running.close();
        self.running.wait().await;
    }
}

/// Runs `monitor` until its worker fails or `stop` is cancelled and the worker has drained.
pub(super) async fn drive(monitor: Monitor, stop: &CancellationToken) -> Result<(), String> {
    let context = monitor.context();
    let mut run = monitor.run().boxed();
    let outcome = tokio::select! {
        outcome = &mut run => outcome,
        () = stop.cancelled() => match context.shutdown() {
            Ok(()) => run.await,
            Err(error) => Err(error),
        },
    };
    outcome.map_err(|error| error.to_string())
}

/// A tower service that is ready only when a handler may start: apalis then fetches one message and no
/// more, so a busy worker hoards nothing that another could run.
pub(super) struct Handlers<H> {
    handler: Arc<H>,
    slots: PollSemaphore,
    slot: Option<OwnedSemaphorePermit>,
    running: TaskTracker,
    stop: CancellationToken,
    abandon: CancellationToken,
}

impl<H, F> Service<Task<Dispatch>> for Handlers<H>
where
    H: Fn(Dispatch) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.stop.is_cancelled() {
            // The shutdown of the apalis worker, which follows at once, wakes it.
            return Poll::Pending;
        }
        if self.slot.is_none() {
            self.slot = ready!(self.slots.poll_acquire(cx));
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Dispatch>) -> Self::Future {
        let slot = self.slot.take();
        let (job_id, attempt) = (task.args.job_id, task.args.attempt);
        let trace_id = trace::id_of(task.args.traceparent.as_deref(), job_id);
        let handled = AssertUnwindSafe((self.handler)(task.args)).catch_unwind();
        let work = async move {
            if handled.await.is_err() {
                tracing::error!(job.id = %job_id, job.attempt = attempt, trace_id, "the handler of a job panicked");
            }
            drop(slot);
        };
        let abandon = self.abandon.clone();
        self.running
            .spawn(async move { abandon.run_until_cancelled(work).await });
        at_once(Ok(()))
    }
}

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
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, PollSemaphore};
use tower::Service;

use super::Dispatch;
use crate::infra::trace;

/// Runs the job of a message.
pub(super) type Handler = Box<dyn Fn(Dispatch) -> BoxFuture<'static, ()> + Send + Sync>;

/// At most `concurrency` handlers at a time, however many apalis workers come and go meanwhile. Dropping it drops them.
pub(super) struct Pool {
    handler: Handler,
    slots: Arc<Semaphore>,
    running: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

impl Pool {
    pub(super) fn new(concurrency: usize, handler: Handler, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            handler,
            slots: Arc::new(Semaphore::new(concurrency.max(1))),
            running: Mutex::default(),
            stop,
        })
    }

    /// What an apalis worker calls for each message: it starts a handler and returns.
    pub(super) fn service(self: &Arc<Self>) -> Handlers {
        Handlers {
            pool: self.clone(),
            slots: PollSemaphore::new(self.slots.clone()),
            slot: None,
        }
    }

    /// Waits for the handlers that still run.
    pub(super) async fn drained(&self) {
        let mut running = std::mem::take(&mut *self.running.lock());
        while running.join_next().await.is_some() {}
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
pub(super) struct Handlers {
    pool: Arc<Pool>,
    slots: PollSemaphore,
    slot: Option<OwnedSemaphorePermit>,
}

impl Service<Task<Dispatch>> for Handlers {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.pool.stop.is_cancelled() {
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
        let handled = AssertUnwindSafe((self.pool.handler)(task.args)).catch_unwind();
        let work = async move {
            if handled.await.is_err() {
                tracing::error!(job.id = %job_id, job.attempt = attempt, trace_id, "the handler of a job panicked");
            }
            drop(slot);
        };
        let mut running = self.pool.running.lock();
        while running.try_join_next().is_some() {}
        running.spawn(work);
        drop(running);
        at_once(Ok(()))
    }
}

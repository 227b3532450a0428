//! The queue inside one process: apalis' in-memory backend over a list.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use apalis_core::backend::memory::{MemorySink, MemoryStorage, MemoryStorageError};
use apalis_core::monitor::Monitor;
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::builder::WorkerBuilder;
use futures::{Sink, SinkExt, StreamExt, sink, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Dispatch;
use super::pool::{Handler, Pool, drive};

/// A queue per host in this process. Bounded by what the dispatcher pushes ahead.
#[derive(Clone, Debug, Default)]
pub struct MemoryQueue {
    hosts: Arc<Mutex<HashMap<String, Arc<HostQueue>>>>,
}

#[derive(Debug, Default)]
struct HostQueue {
    waiting: Mutex<VecDeque<Dispatch>>,
    pushed: Notify,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    fn host(&self, host: &str) -> Arc<HostQueue> {
        self.hosts
            .lock()
            .entry(host.to_owned())
            .or_default()
            .clone()
    }

    pub(super) fn push(&self, host: &str, dispatches: &[Dispatch]) {
        let queue = self.host(host);
        let mut waiting = queue.waiting.lock();
        for dispatch in dispatches {
            let of_job = |other: &&mut Dispatch| other.job_id == dispatch.job_id;
            match waiting.iter_mut().find(of_job) {
                Some(earlier) => *earlier = dispatch.clone(),
                None => waiting.push_back(dispatch.clone()),
            }
        }
        drop(waiting);
        queue.pushed.notify_waiters();
    }

    pub(super) async fn run(
        &self,
        host: &str,
        worker: &str,
        concurrency: usize,
        handler: Handler,
        stop: CancellationToken,
    ) {
        let queue = self.host(host);
        let pool = Pool::new(concurrency, handler, stop.clone());
        let (workers, name) = (pool.clone(), worker.to_owned());
        let monitor = Monitor::new()
            .register(move |_| {
                WorkerBuilder::new(name.as_str())
                    .backend(queue.storage())
                    .build(workers.service())
            })
            // Nothing here fails; what a bug breaks starts again.
            .should_restart(|_, _| true);
        if let Err(error) = drive(monitor, &stop).await {
            tracing::warn!(host, error, "the worker of the queue in memory failed");
        }
        pool.drained().await;
    }
}

impl HostQueue {
    /// apalis' in-memory backend, reading from this list. Its own way in is closed: pushes go through [`MemoryQueue::push`].
    fn storage(self: &Arc<Self>) -> MemoryStorage<Dispatch> {
        let closed: Box<
            dyn Sink<Task<Dispatch>, Error = MemoryStorageError> + Send + Sync + Unpin,
        > = Box::new(sink::drain().sink_map_err(|never| match never {}));
        let messages = stream::unfold(self.clone(), |queue| async move {
            let dispatch = queue.next().await;
            let task = TaskBuilder::new(dispatch.clone())
                .task_id(TaskId::from(dispatch.job_id.to_string()))
                .build();
            Some((task, queue))
        });
        MemoryStorage::new_with(
            MemorySink::new(Arc::new(futures::lock::Mutex::new(closed))),
            messages.boxed(),
        )
    }

    async fn next(&self) -> Dispatch {
        loop {
            let mut pushed = std::pin::pin!(self.pushed.notified());
            // Before looking, so that no push falls between the look and the wait.
            pushed.as_mut().enable();
            if let Some(dispatch) = self.waiting.lock().pop_front() {
                return dispatch;
            }
            pushed.await;
        }
    }
}

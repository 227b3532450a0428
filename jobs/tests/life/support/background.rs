//! What goes on beside a test.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A task that is told to stop when this is dropped.
pub(crate) struct Background {
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Background {
    /// Starts what runs until its token is cancelled.
    pub(crate) fn start<F>(run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(stop.clone()));
        Self {
            stop: stop.drop_guard(),
            task,
        }
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        super::in_time("it stops", self.task).await.unwrap();
    }

    /// Ends it where it stands.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}

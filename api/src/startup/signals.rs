//! Stopping a process: the first SIGTERM or SIGINT asks, the second one ends it at once. It ends too, with a message and an
//! exit status, where a background task has ended, because it would otherwise seem healthy.

use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wharfinger_jobs::infra::tasks::{NeededBy, Tasks};

/// Exit code of a process that got a second signal (128 + SIGINT, as shells count).
const INSISTED: i32 = 130;

/// How long the rest of the process may take to end after a task ended.
const REST: Duration = Duration::from_secs(10);

/// Two steps of stopping a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// Step one: the process reports that it is not ready, and begins no long work.
    pub(crate) told: CancellationToken,
    /// Step two: it takes no more requests. Running ones may end.
    pub(crate) close: CancellationToken,
}

impl Stop {
    /// Takes both steps at once.
    pub(crate) fn at_once(&self) {
        self.told.cancel();
        self.close.cancel();
    }
}

/// Returns the steps, which the first signal takes. Between them a process that got SIGTERM serves requests for `unready`,
/// so that a load balancer can see that it is not ready before a connection is refused; SIGINT comes from a terminal and
/// skips that. The second signal ends the process at once; another worker takes over its jobs when their leases end.
pub(crate) fn stop(tasks: &Tasks, unready: Duration) -> Stop {
    let stop = Stop::default();
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(terminate), Ok(interrupt)) = signals else {
        tracing::warn!("cannot listen for signals: the process ends at once when told to");
        return stop;
    };
    let task = tasks.task("signals", NeededBy::All);
    let following = follow(terminate, interrupt, unready, stop.clone());
    tokio::spawn(task.until(CancellationToken::new(), following));
    stop
}

async fn follow(mut terminate: Signal, mut interrupt: Signal, unready: Duration, stop: Stop) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => unready,
            _ = interrupt.recv() => Duration::ZERO,
        }
    };
    let unready = next().await;
    tracing::info!(
        "stopping: running jobs may end or are handed back; a second signal ends it at once"
    );
    stop.told.cancel();
    tokio::select! {
        () = tokio::time::sleep(unready) => {}
        _ = next() => std::process::exit(INSISTED),
    }
    stop.close.cancel();
    next().await;
    std::process::exit(INSISTED);
}

/// Waits for the end of `work`, which follows `stop`. Where a background task ends before it was told to, stops the
/// process, waits for it for a bounded time, and fails with an error about the task.
pub(crate) async fn supervised(
    tasks: &Tasks,
    stop: &Stop,
    work: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut work = pin!(work);
    let early = tokio::select! {
        biased;
        early = tasks.ended_early() => early,
        () = &mut work => return tasks.early_end().map_or(Ok(()), |early| Err(early.into())),
    };
    stop.at_once();
    if timeout(REST, work).await.is_err() {
        tracing::warn!("the rest of the process did not end in time");
    }
    Err(early.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_task_ends_the_process_with_its_message() {
        let (tasks, stop) = (Tasks::default(), Stop::default());
        let task = tasks.task("dispatcher", NeededBy::All);
        tokio::spawn(task.until(CancellationToken::new(), async { panic!("no luck") }));
        let close = stop.close.clone();
        let work = async move { close.cancelled().await };
        let ended = supervised(&tasks, &stop, work).await.unwrap_err();
        assert_eq!(
            ended.to_string(),
            "the background task \"dispatcher\" ended before it was told to: it panicked: no luck"
        );
    }

    #[tokio::test]
    async fn a_process_that_is_told_to_stop_ends_well() {
        let (tasks, stop) = (Tasks::default(), Stop::default());
        stop.at_once();
        supervised(&tasks, &stop, async {}).await.unwrap();
    }
}

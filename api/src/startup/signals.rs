//! Signals to stop: the first SIGTERM or SIGINT asks, the second one ends the process at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wharfinger_jobs::infra::tasks::{NeededBy, Tasks};

/// Exit code of a process that got a second signal (128 + SIGINT, as shells count).
const INSISTED: i32 = 130;

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

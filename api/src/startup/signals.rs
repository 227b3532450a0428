//! Stopping: SIGTERM or SIGINT asks for it, a second one insists.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wharfinger_jobs::infra::tasks::{NeededBy, Tasks};

/// Exit code of a process that was told twice (128 + SIGINT, as shells count).
const INSISTED: i32 = 130;

/// How a process is told to stop, in two steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// It is to stop: it says that it is not ready, and begins nothing that takes long.
    pub(crate) told: CancellationToken,
    /// It takes no more requests. Those that are under way may end.
    pub(crate) close: CancellationToken,
}

impl Stop {
    /// Both steps at once.
    pub(crate) fn at_once(&self) {
        self.told.cancel();
        self.close.cancel();
    }
}

/// Told by the first signal. After SIGTERM requests are served for as long as `unready`, so that a load balancer sees that
/// the process is not ready before a connection is refused; after SIGINT, which a person at a terminal sends, they are not.
/// The second signal ends the process at once. What is under way then is taken over by another worker when its lease runs
/// out.
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

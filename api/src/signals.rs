//! Stopping: SIGTERM or SIGINT asks for it, a second one insists.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a process that was told twice (128 + SIGINT, as shells count).
const INSISTED: i32 = 130;

/// Cancelled by the first signal; the second one ends the process at once. What is under way then is taken over by
/// another worker when its lease runs out.
pub(crate) fn stop() -> CancellationToken {
    let stop = CancellationToken::new();
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(terminate), Ok(interrupt)) = signals else {
        tracing::warn!("cannot listen for signals: the process ends at once when told to");
        return stop;
    };
    tokio::spawn(follow(terminate, interrupt, stop.clone()));
    stop
}

async fn follow(mut terminate: Signal, mut interrupt: Signal, stop: CancellationToken) {
    let mut next = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    next().await;
    tracing::info!(
        "stopping: running jobs may end or are handed back; a second signal ends it at once"
    );
    stop.cancel();
    next().await;
    std::process::exit(INSISTED);
}

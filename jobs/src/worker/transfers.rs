//! Transfers: one pull by the engine for every job on this worker that wants the same reference.
//!
//! The first job starts it, others join and see its progress. It runs as long as one of them is left: when the last one
//! is cancelled, the engine's pull is cancelled with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument as _, Span};

use crate::engine::{Engine, EngineError, EngineLogin, PullEvent, PullName};
use crate::progress::{Coalescer, ProgressTracker, PullSnapshot};
use crate::trace::{self, TraceContext};

/// Where a transfer is.
#[derive(Clone, Debug)]
pub(crate) struct TransferState {
    /// What has arrived so far.
    pub(crate) snapshot: PullSnapshot,
    /// How it ended, once it has.
    pub(crate) ended: Option<Result<(), Arc<EngineError>>>,
}

/// A running transfer. Dropping the last one cancels the engine's pull.
pub(crate) struct Transfer {
    state: watch::Receiver<TransferState>,
    /// Where the engine's pull is in the trace of the job that began it.
    place: Option<TraceContext>,
    _task: AbortOnDropHandle<()>,
}

impl Transfer {
    /// Follows it.
    pub(crate) fn state(&self) -> watch::Receiver<TransferState> {
        self.state.clone()
    }

    /// Where the engine's pull is in the trace of the job that began it; none where nobody records traces.
    pub(crate) fn place(&self) -> Option<&TraceContext> {
        self.place.as_ref()
    }
}

/// The transfers that run on this worker, by reference.
#[derive(Default)]
pub(crate) struct Transfers(Mutex<HashMap<String, Weak<Transfer>>>);

impl Transfers {
    /// Joins the transfer of a reference, or starts it with this login, if any, and what `tracker` knows of the layers.
    /// Says whether it joined. Whoever comes here was given the manifest by the registry, with their own login: to join a
    /// transfer that began with another's gives them nothing that they could not have fetched themselves.
    pub(crate) fn join(
        &self,
        engine: &Engine,
        reference: &str,
        name: &PullName,
        login: Option<&EngineLogin>,
        tracker: ProgressTracker,
    ) -> (Arc<Transfer>, bool) {
        let mut transfers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        transfers.retain(|_, transfer| transfer.strong_count() > 0);
        let running = transfers.get(reference).and_then(Weak::upgrade);
        // One that has ended is on its way out: what it brought may be gone again by now.
        if let Some(transfer) = running.filter(|transfer| transfer.state.borrow().ended.is_none()) {
            return (transfer, true);
        }
        let first = TransferState {
            snapshot: tracker.snapshot(now()),
            ended: None,
        };
        let (sender, state) = watch::channel(first);
        let span = engine.pull_span();
        let place = TraceContext::of(&span);
        let following = follow(engine.pull(name, login), tracker, sender);
        let task = tokio::spawn(following.instrument(span));
        let transfer = Arc::new(Transfer {
            state,
            place,
            _task: AbortOnDropHandle::new(task),
        });
        transfers.insert(reference.to_owned(), Arc::downgrade(&transfer));
        (transfer, false)
    }
}

/// Reads the engine's events into the channel, at most ten times a second.
async fn follow(
    events: impl Stream<Item = Result<PullEvent, EngineError>> + Send,
    mut tracker: ProgressTracker,
    state: watch::Sender<TransferState>,
) {
    let mut events = std::pin::pin!(events);
    let mut coalescer = Coalescer::default();
    let mut pending = false;
    loop {
        let due = coalescer.wait(now());
        let event = tokio::select! {
            event = events.next() => event,
            () = tokio::time::sleep(due), if pending => {
                pending = false;
                coalescer.emitted(now());
                state.send_modify(|state| state.snapshot = tracker.snapshot(now()));
                continue;
            }
        };
        match event {
            Some(Ok(event)) => {
                let changed = tracker.apply(&event, now());
                if changed && due == Duration::ZERO {
                    pending = false;
                    coalescer.emitted(now());
                    state.send_modify(|state| {
                        state.snapshot = tracker.snapshot(now());
                    });
                } else {
                    pending |= changed;
                }
            }
            Some(Err(error)) => {
                trace::failed(&Span::current(), error.kind());
                state.send_modify(|state| {
                    state.snapshot = tracker.snapshot(now());
                    state.ended = Some(Err(Arc::new(error)));
                });
                return;
            }
            None => {
                tracker.finish(now());
                state.send_modify(|state| {
                    state.snapshot = tracker.snapshot(now());
                    state.ended = Some(Ok(()));
                });
                return;
            }
        }
    }
}

fn now() -> std::time::Instant {
    std::time::Instant::now()
}

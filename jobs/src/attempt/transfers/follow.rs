//! Reads the events of one engine's pull, for all who follow it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::watch;
use tracing::Span;

use super::{Patience, TransferState, now};
use crate::engine::{EngineError, LayerStep, PullEvent};
use crate::infra::trace;
use crate::progress::{Activity, Coalescer, ProgressTracker};

/// The layers of a transfer that did not fail, by the engine's own word. Layers are named by the engine's short ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brought {
    /// Whether the engine has the whole image. False where the transfer was ended because the engine had a layer that was
    /// watched.
    pub(crate) whole: bool,
    /// Whether the registry was shown no login.
    pub(crate) anonymous: bool,
    /// Layers whose bytes came.
    pub(crate) fetched: HashSet<String>,
    /// Layers that were unpacked.
    pub(crate) unpacked: HashSet<String>,
    /// Layers that the engine had already.
    pub(crate) existed: HashSet<String>,
}

impl Brought {
    fn note(&mut self, event: &PullEvent) {
        let PullEvent::Layer { id, step } = event else {
            return;
        };
        let layers = match step {
            LayerStep::Downloading { .. } | LayerStep::Downloaded => &mut self.fetched,
            LayerStep::Extracting { .. } | LayerStep::Done => &mut self.unpacked,
            LayerStep::Exists => &mut self.existed,
            LayerStep::Announced | LayerStep::Waiting | LayerStep::Retrying => return,
        };
        if !layers.contains(&**id) {
            layers.insert(id.to_string());
        }
    }

    /// Whether the engine spoke of a layer at all.
    pub(crate) fn mentions(&self, id: &str) -> bool {
        [&self.fetched, &self.unpacked, &self.existed]
            .into_iter()
            .any(|layers| layers.contains(id))
    }
}

/// Reads the engine's events into the channel, at most ten times a second. `watched` are short ids of layers that the engine
/// must not have already; `brought` is what is known of the transfer before it begins.
pub(super) async fn follow(
    events: impl Stream<Item = Result<PullEvent, EngineError>> + Send,
    mut tracker: ProgressTracker,
    watched: HashSet<String>,
    mut brought: Brought,
    state: watch::Sender<TransferState>,
    patience: Patience,
) {
    let mut events = std::pin::pin!(events);
    let mut activity = Activity::begun(now());
    let mut coalescer = Coalescer::default();
    let mut pending = false;
    // A layer was there that is watched. Engines tell in one go of those that are there: the next word on another ends it.
    let mut halting = false;
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
                brought.note(&event);
                halting |= matches!(
                    &event,
                    PullEvent::Layer { id, step: LayerStep::Exists } if watched.contains(&**id)
                );
                if halting {
                    if matches!(event, PullEvent::Layer { step, .. } if step != LayerStep::Exists) {
                        state.send_modify(|state| state.ended = Some(Ok(Arc::new(brought))));
                        return;
                    }
                    continue;
                }
                if activity.note(&event, now()) {
                    *patience.engine_moved.lock() = activity.moved();
                }
                // For the followers' patience; only what a watcher sees is told.
                state.send_if_modified(|state| {
                    state.moved = activity.moved();
                    state.waits_for_its_turn = activity.waits_for_its_turn();
                    false
                });
                let changed = tracker.apply(&event, now());
                if changed && due == Duration::ZERO {
                    pending = false;
                    coalescer.emitted(now());
                    state.send_modify(|state| state.snapshot = tracker.snapshot(now()));
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
                brought.whole = true;
                // Who had no right to see a layer is not told that it was there.
                if !halting {
                    tracker.finish(now());
                }
                state.send_modify(|state| {
                    state.snapshot = tracker.snapshot(now());
                    state.ended = Some(Ok(Arc::new(brought)));
                });
                return;
            }
        }
    }
}

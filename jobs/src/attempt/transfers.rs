//! Transfers: one pull by the engine for every job on this worker that wants the same reference.
//!
//! The first job starts it, others join and see its progress. It runs as long as one of them is left: when the last one
//! is cancelled, the engine's pull is cancelled with it.

mod follow;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

pub(crate) use self::follow::Brought;

use self::follow::follow;
use crate::engine::{Engine, EngineError, EngineLogin, PullName};
use crate::infra::trace::TraceContext;
use crate::progress::{ProgressTracker, PullSnapshot};

/// The state of a transfer.
#[derive(Clone, Debug)]
pub(crate) struct TransferState {
    /// The progress so far.
    pub(crate) snapshot: PullSnapshot,
    /// How it ended, once it has.
    pub(crate) ended: Option<Result<Arc<Brought>, Arc<EngineError>>>,
    /// When the engine last did something for it.
    moved: Instant,
    /// The engine has others to serve first.
    waits_for_its_turn: bool,
}

/// A running transfer. Dropping the last one cancels the engine's pull.
pub(crate) struct Transfer {
    state: watch::Receiver<TransferState>,
    patience: Patience,
    /// Where the engine's pull is in the trace of the job that began it.
    place: Option<TraceContext>,
    _task: AbortOnDropHandle<()>,
}

impl Transfer {
    /// Follows it. Who joined follows as who began it does: it stalls for all of them at the same moment.
    pub(crate) fn follow(&self) -> Following {
        let mut state = self.state.clone();
        state.mark_changed();
        Following {
            state,
            patience: self.patience.clone(),
        }
    }

    /// Whether it is worth waiting for: one that has ended is on its way out, and what it brought may be gone again by
    /// now; one that has stalled is given up by everyone who follows it.
    fn is_running(&self) -> bool {
        let state = self.state.borrow();
        state.ended.is_none() && now() < self.patience.until(&state)
    }

    /// Where the engine's pull is in the trace of the job that began it; none where no traces are recorded.
    pub(crate) fn place(&self) -> Option<&TraceContext> {
        self.place.as_ref()
    }
}

/// A transfer as one of its jobs sees it.
pub(crate) struct Following {
    state: watch::Receiver<TransferState>,
    patience: Patience,
}

/// The next news of a transfer.
pub(crate) enum Next {
    /// This is how it stands.
    State(TransferState),
    /// The engine has done nothing for it for too long.
    Stalled,
    /// It is gone without having ended.
    Vanished,
}

impl Following {
    /// Waits for what a watcher sees, or until it stalls. The first state comes at once.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            let until = self.patience.until(&self.state.borrow());
            match tokio::time::timeout_at(until.into(), self.state.changed()).await {
                Ok(Ok(())) => return Next::State(self.state.borrow_and_update().clone()),
                Ok(Err(_)) => return Next::Vanished,
                // It has moved meanwhile, in a way that no watcher sees.
                Err(_) if now() < self.patience.until(&self.state.borrow()) => {}
                Err(_) => return Next::Stalled,
            }
        }
    }
}

/// How long a transfer is waited for.
#[derive(Clone)]
struct Patience {
    stall: Duration,
    /// When the engine last did something for any transfer.
    engine_moved: Arc<Mutex<Instant>>,
}

impl Patience {
    /// When a transfer stalls, if nothing happens until then. One that waits for its turn is as slow as those before it:
    /// its time is up only when the engine does nothing for them either.
    fn until(&self, state: &TransferState) -> Instant {
        let quiet_since = if state.waits_for_its_turn {
            state.moved.max(*self.engine_moved.lock())
        } else {
            state.moved
        };
        quiet_since + self.stall
    }
}

/// The transfers that run on this worker, by reference.
pub(crate) struct Transfers {
    running: Mutex<HashMap<String, Weak<Transfer>>>,
    patience: Patience,
}

impl Transfers {
    /// None yet. `stall` is how long one may stand still.
    pub(crate) fn new(stall: Duration) -> Self {
        Self {
            running: Mutex::default(),
            patience: Patience {
                stall,
                engine_moved: Arc::new(Mutex::new(now())),
            },
        }
    }

    /// Joins the transfer of a reference, or starts it with this login, if any, and what `tracker` knows of the layers.
    /// Says whether it joined. Every caller was given the manifest by the registry, with their own login, and looks at what
    /// the transfer brought: to join one that began with another's login gives them nothing that they have not proved.
    ///
    /// `watched` are short ids of layers that the engine has to fetch: if it has one of them already, the transfer ends
    /// before anyone sees it.
    pub(crate) fn join(
        &self,
        engine: &Engine,
        reference: &str,
        name: &PullName,
        login: Option<&EngineLogin>,
        tracker: ProgressTracker,
        watched: HashSet<String>,
    ) -> (Arc<Transfer>, bool) {
        let mut transfers = self.running.lock();
        transfers.retain(|_, transfer| transfer.strong_count() > 0);
        let running = transfers.get(reference).and_then(Weak::upgrade);
        if let Some(transfer) = running.filter(|transfer| transfer.is_running()) {
            return (transfer, true);
        }
        let first = TransferState {
            snapshot: tracker.snapshot(now()),
            ended: None,
            moved: now(),
            waits_for_its_turn: false,
        };
        let patience = self.patience.clone();
        let (sender, state) = watch::channel(first);
        let span = engine.pull_span();
        let place = TraceContext::of(&span);
        let brought = Brought {
            anonymous: login.is_none(),
            ..Brought::default()
        };
        let events = engine.pull(name, login);
        let following = follow(events, tracker, watched, brought, sender, patience.clone());
        let task = tokio::spawn(following.instrument(span));
        let transfer = Arc::new(Transfer {
            state,
            patience,
            place,
            _task: AbortOnDropHandle::new(task),
        });
        transfers.insert(reference.to_owned(), Arc::downgrade(&transfer));
        (transfer, false)
    }
}

/// The runtime's clock, so that tests need not wait.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;

//! A way to the engine on which what is asked about images waits until it is let through, one request at a time, in an
//! order that a test chooses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::relay;

/// Listens on the loopback until dropped.
pub(crate) struct Schedule {
    /// `tcp://127.0.0.1:port`, as a `DOCKER_HOST`.
    pub(crate) url: String,
    gate: Arc<Gate>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Gate {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Where the requests' ranks come from; none while they do not wait at all.
    ranks: Option<StdRng>,
    requests: Vec<Request>,
}

struct Request {
    rank: u8,
    passes: oneshot::Sender<()>,
}

impl Gate {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl relay::Gate for Gate {
    async fn pass(&self, line: &str) {
        let let_through = {
            let mut waiting = self.lock();
            let Some(ranks) = waiting.ranks.as_mut().filter(|_| is_ordered(line)) else {
                return;
            };
            let rank = ranks.random();
            let (passes, let_through) = oneshot::channel();
            waiting.requests.push(Request { rank, passes });
            let_through
        };
        self.arrived.notify_one();
        // A dropped sender lets it through as well.
        let _ = let_through.await;
    }
}

impl Schedule {
    /// A way to the engine at `unix://…`, on which everything passes.
    pub(crate) async fn start(engine: &str) -> Self {
        let gate = Arc::new(Gate::default());
        let (url, task) = relay::open(engine, Arc::clone(&gate)).await;
        Self {
            url,
            gate,
            _task: task,
        }
    }

    /// From now on requests wait to be let through. Each gets a rank when it comes, at random: one of a low rank waits
    /// for as long as there is anything else to be done, as the slowest of all.
    pub(crate) fn order(&self, ranks: StdRng) {
        self.gate.lock().ranks = Some(ranks);
    }

    /// Everything passes, also what waits.
    pub(crate) fn open(&self) {
        let mut waiting = self.gate.lock();
        waiting.ranks = None;
        waiting.requests.clear();
    }

    /// The highest rank of those that wait.
    pub(crate) fn highest(&self) -> Option<u8> {
        let mut waiting = self.gate.lock();
        // Whose client has gone does not wait any more.
        waiting
            .requests
            .retain(|request| !request.passes.is_closed());
        waiting.requests.iter().map(|request| request.rank).max()
    }

    /// Lets the one of the highest rank through.
    pub(crate) fn let_through(&self) {
        let mut waiting = self.gate.lock();
        let highest =
            (0..waiting.requests.len()).max_by_key(|number| waiting.requests[*number].rank);
        if let Some(highest) = highest {
            // One whose client went at this moment is gone.
            let _ = waiting.requests.remove(highest).passes.send(());
        }
    }

    /// Waits for another request to come, but not longer than this.
    pub(crate) async fn another(&self, most: Duration) {
        let _ = tokio::time::timeout(most, self.gate.arrived.notified()).await;
    }
}

/// Whether a request with this first line has to wait: it looks at images or changes them.
fn is_ordered(line: &str) -> bool {
    let method = ["GET ", "POST ", "DELETE "]
        .iter()
        .any(|method| line.starts_with(method));
    method && (line.contains("/images/") || line.contains("/containers/"))
}

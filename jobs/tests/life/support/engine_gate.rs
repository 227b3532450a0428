//! A way to the engine on which deletions or pulls can be held up, and which can be cut.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Counted, relay};

/// Requests that do not reach the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Deletions,
    /// The last thing that is asked before an image is deleted.
    LooksAtContainers,
    /// By the time that one is held up, what the engine had before is recorded, and the hold is the expected charge.
    Pulls,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Open,
    Holds(Hold),
    Cut,
}

impl Mode {
    fn holds(self, line: &str) -> bool {
        match self {
            Self::Holds(Hold::Deletions) => line.starts_with("DELETE "),
            Self::Holds(Hold::LooksAtContainers) => {
                line.starts_with("GET ") && line.contains("/containers/json")
            }
            Self::Holds(Hold::Pulls) => {
                line.starts_with("POST ") && line.contains("/images/create?")
            }
            Self::Open | Self::Cut => false,
        }
    }
}

/// Listens on the loopback until dropped.
pub(crate) struct EngineGate {
    /// `tcp://127.0.0.1:port`, as a `DOCKER_HOST`.
    pub(crate) url: String,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    mode: watch::Sender<Mode>,
    held: watch::Sender<usize>,
    looks: watch::Sender<usize>,
}

impl relay::Gate for State {
    async fn pass(&self, line: &str) {
        if line.starts_with("GET ") && line.contains("/images/") {
            self.looks.send_modify(|looks| *looks += 1);
        }
        if self.mode.borrow().holds(line) {
            let _held = Counted::among(&self.held);
            self.is(Mode::Open).await;
        }
    }

    async fn cut(&self) {
        self.is(Mode::Cut).await;
    }
}

impl State {
    async fn is(&self, mode: Mode) {
        let mut modes = self.mode.subscribe();
        modes.wait_for(|now| *now == mode).await.unwrap();
    }
}

impl EngineGate {
    /// A gate to the engine at `unix://…`, open.
    pub(crate) async fn start(engine: &str) -> Self {
        let state = Arc::new(State::default());
        let (url, task) = relay::open(engine, Arc::clone(&state)).await;
        Self {
            url,
            state,
            _task: task,
        }
    }

    /// From now on these requests do not pass.
    pub(crate) fn hold(&self, what: Hold) {
        self.state.mode.send_replace(Mode::Holds(what));
    }

    /// Waits until a request is held up.
    pub(crate) async fn holds(&self) {
        let mut held = self.state.held.subscribe();
        let waiting = held.wait_for(|held| *held > 0);
        super::in_time("a request is held up", waiting)
            .await
            .unwrap();
    }

    /// Opens the gate, and waits until so many questions for images have passed since.
    pub(crate) async fn open_for_looks(&self, count: usize) {
        let mut looks = self.state.looks.subscribe();
        let until = *looks.borrow() + count;
        self.open();
        let waiting = looks.wait_for(|looks| *looks >= until);
        super::in_time("looks at images", waiting).await.unwrap();
    }

    /// The engine does not answer any more.
    pub(crate) fn cut(&self) {
        self.state.mode.send_replace(Mode::Cut);
    }

    /// Everything passes.
    pub(crate) fn open(&self) {
        self.state.mode.send_replace(Mode::Open);
    }
}

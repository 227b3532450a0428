//! A way to the engine on which deletions or pulls can be held up, and which can be cut.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What the gate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Open,
    HoldDeletions,
    HoldLooksAtContainers,
    HoldPulls,
    Cut,
}

impl Mode {
    /// Whether a request that begins like this does not pass.
    fn holds(self, request: &[u8]) -> bool {
        let line = request.split(|byte| *byte == b'\r').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default());
        match self {
            Self::HoldDeletions => line.starts_with("DELETE "),
            Self::HoldLooksAtContainers => {
                line.starts_with("GET ") && line.contains("/containers/json")
            }
            Self::HoldPulls => line.starts_with("POST ") && line.contains("/images/create?"),
            Self::Open | Self::Cut => false,
        }
    }
}

/// Listens on the loopback until dropped.
pub(crate) struct EngineGate {
    /// `tcp://127.0.0.1:port`, as a `DOCKER_HOST`.
    pub(crate) url: String,
    mode: watch::Sender<Mode>,
    held: watch::Receiver<usize>,
    _task: AbortOnDropHandle<()>,
}

impl EngineGate {
    /// A gate to the engine at `unix://…`, open.
    pub(crate) async fn start(engine: &str) -> Self {
        let socket = engine.strip_prefix("unix://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let (mode, modes) = watch::channel(Mode::Open);
        let (counter, held) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (mut modes, counter) = (modes.clone(), counter.clone());
                let socket = socket.clone();
                tokio::spawn(async move {
                    let mut until_cut = modes.clone();
                    tokio::select! {
                        _ = until_cut.wait_for(|mode| *mode == Mode::Cut) => {}
                        _ = pass(client, &socket, &mut modes, &counter) => {}
                    }
                });
            }
        });
        Self {
            url,
            mode,
            held,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Deletions do not reach the engine.
    pub(crate) fn hold_deletions(&self) {
        self.mode.send_replace(Mode::HoldDeletions);
    }

    /// Waits until a deletion is held up.
    pub(crate) async fn holds_a_deletion(&self) {
        self.holds("a deletion").await;
    }

    /// Questions for containers do not reach the engine: the last thing that is asked before an image is deleted.
    pub(crate) fn hold_looks_at_containers(&self) {
        self.mode.send_replace(Mode::HoldLooksAtContainers);
    }

    /// Waits until such a question is held up.
    pub(crate) async fn holds_a_look_at_containers(&self) {
        self.holds("a look at containers").await;
    }

    /// Pulls do not reach the engine.
    pub(crate) fn hold_pulls(&self) {
        self.mode.send_replace(Mode::HoldPulls);
    }

    /// Waits until a pull is held up: what the engine had before is recorded, and the hold is the expected charge.
    pub(crate) async fn holds_a_pull(&self) {
        self.holds("a pull").await;
    }

    async fn holds(&self, what: &str) {
        let mut held = self.held.clone();
        let waiting = async { held.wait_for(|held| *held > 0).await.map(drop) };
        super::in_time(what, waiting).await.unwrap();
    }

    /// The engine does not answer any more.
    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Everything passes.
    pub(crate) fn open(&self) {
        self.mode.send_replace(Mode::Open);
    }
}

async fn pass(
    client: TcpStream,
    socket: &str,
    modes: &mut watch::Receiver<Mode>,
    held: &watch::Sender<usize>,
) -> std::io::Result<()> {
    let engine = UnixStream::connect(socket).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let requests = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let holds = modes.borrow().holds(&buffer[..read]);
            if holds {
                held.send_modify(|held| *held += 1);
                let opened = modes.wait_for(|mode| *mode == Mode::Open);
                let left = tokio::select! {
                    _ = opened => false,
                    () = gone(&mut from_client) => true,
                };
                held.send_modify(|held| *held -= 1);
                if left {
                    return Ok(());
                }
            }
            to_engine.write_all(&buffer[..read]).await?;
        }
    };
    let answers = async {
        tokio::io::copy(&mut from_engine, &mut to_client)
            .await
            .map(drop)
    };
    tokio::select! {
        ended = requests => ended,
        ended = answers => ended,
    }
}

/// Completes when the client whose request waits has gone: it asks for nothing any more. `readable` gives false alarms. One that
/// sent more already is not seen to go.
pub(super) async fn gone(client: &mut OwnedReadHalf) {
    if client.peek(&mut [0]).await.is_ok_and(|ahead| ahead > 0) {
        std::future::pending::<()>().await;
    }
}

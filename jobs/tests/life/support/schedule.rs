//! A way to the engine on which what is asked about images waits until it is let through, one request at a time, in an
//! order that a test chooses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::engine_gate::gone;

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

    /// Waits until the request is let through.
    async fn pass(&self) {
        let let_through = {
            let mut waiting = self.lock();
            let Some(ranks) = &mut waiting.ranks else {
                return;
            };
            let rank = ranks.random();
            let (passes, let_through) = oneshot::channel();
            waiting.requests.push(Request { rank, passes });
            let_through
        };
        self.arrived.notify_one();
        // Whoever drops the sender lets it through as well.
        let _ = let_through.await;
    }
}

impl Schedule {
    /// A way to the engine at `unix://…`, on which everything passes.
    pub(crate) async fn start(engine: &str) -> Self {
        let socket = engine.strip_prefix("unix://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let gate = Arc::new(Gate::default());
        let shared = Arc::clone(&gate);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (socket, gate) = (socket.clone(), Arc::clone(&shared));
                // A connection that breaks is the client's to notice.
                tokio::spawn(async move { drop(pass(client, &socket, &gate).await) });
            }
        });
        Self {
            url,
            gate,
            _task: AbortOnDropHandle::new(task),
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

/// Whether a request that begins like this has to wait: it looks at images or changes them.
fn is_ordered(request: &[u8]) -> bool {
    let line = request.split(|byte| *byte == b'\r').next();
    let line = String::from_utf8_lossy(line.unwrap_or_default());
    let method = ["GET ", "POST ", "DELETE "]
        .iter()
        .any(|method| line.starts_with(method));
    method && (line.contains("/images/") || line.contains("/containers/"))
}

async fn pass(client: TcpStream, socket: &str, gate: &Gate) -> std::io::Result<()> {
    let engine = UnixStream::connect(socket).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let requests = async {
        // The client sends the head of a request in one piece, and one request at a time on a connection.
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            if is_ordered(&buffer[..read]) {
                tokio::select! {
                    () = gate.pass() => {}
                    () = gone(&mut from_client) => return Ok(()),
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

//! A way to the registry that remembers what was asked, and that can be blocked: then a connection passes the first bytes on
//! and falls silent.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{Counted, in_time};

/// What a blocked connection still passes on: more than any manifest or config, less than the layers behind it.
const FIRST_BYTES: usize = 64 * 1024;

/// Listens on the loopback until dropped.
pub(crate) struct Proxy {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    blocked: watch::Sender<bool>,
    /// Connections that have fallen silent.
    stuck: watch::Sender<usize>,
    /// Connections that carry more than first bytes.
    carrying: watch::Sender<usize>,
    layers: AtomicUsize,
    bytes: AtomicUsize,
    /// Everything that clients sent, connection by connection.
    sent: Mutex<Vec<Vec<u8>>>,
}

impl Proxy {
    /// A proxy to a registry, open.
    pub(crate) async fn start(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let (registry, shared) = (registry.to_owned(), Arc::clone(&state));
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (registry, state) = (registry.clone(), Arc::clone(&shared));
                tokio::spawn(async move { state.pass(client, &registry).await });
            }
        });
        Self {
            address,
            state,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// From now on connections fall silent after their first bytes.
    pub(crate) fn block(&self) {
        self.state.blocked.send_replace(true);
    }

    /// Everything flows, also what was stuck.
    pub(crate) fn open(&self) {
        self.state.blocked.send_replace(false);
    }

    /// Waits until a connection is stuck.
    pub(crate) async fn stuck(&self) {
        let mut stuck = self.state.stuck.subscribe();
        let waiting = stuck.wait_for(|stuck| *stuck > 0);
        in_time("a stuck transfer", waiting).await.unwrap();
    }

    /// Waits until no connection carries a layer any more, and tells how many bytes all of them have carried.
    pub(crate) async fn given_up(&self) -> usize {
        let mut carrying = self.state.carrying.subscribe();
        let waiting = carrying.wait_for(|carrying| *carrying == 0);
        in_time("the end of a transfer", waiting).await.unwrap();
        self.state.bytes.load(Ordering::SeqCst)
    }

    /// Whether a connection is stuck.
    pub(crate) fn is_stuck(&self) -> bool {
        *self.state.stuck.borrow() > 0
    }

    /// How many connections have carried more than first bytes: transfers of layers.
    pub(crate) fn layers(&self) -> usize {
        self.state.layers.load(Ordering::SeqCst)
    }

    /// The lines of all requests so far, in lower case.
    pub(crate) fn lines(&self) -> Vec<String> {
        let sent = self.state.sent.lock().unwrap();
        let texts = sent.iter().map(|bytes| String::from_utf8_lossy(bytes));
        let lines = |text: &str| text.lines().map(str::to_lowercase).collect::<Vec<_>>();
        texts.flat_map(|text| lines(&text)).collect()
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        let is_request = |line: &&String| line.ends_with(" http/1.1");
        self.lines().iter().filter(is_request).count()
    }

    /// The `Authorization` headers of all requests.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.starts_with("authorization:"));
        lines
    }
}

impl State {
    async fn pass(&self, client: TcpStream, registry: &str) {
        let Ok(server) = TcpStream::connect(registry).await else {
            return;
        };
        let number = {
            let mut sent = self.sent.lock().unwrap();
            sent.push(Vec::new());
            sent.len() - 1
        };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let requests = async {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                let read = from_client.read(&mut buffer).await?;
                if read == 0 {
                    return to_server.shutdown().await;
                }
                self.sent.lock().unwrap()[number].extend_from_slice(&buffer[..read]);
                to_server.write_all(&buffer[..read]).await?;
            }
        };
        let answers = async {
            let mut buffer = vec![0; 16 * 1024];
            let mut passed = 0;
            let mut carries = None;
            loop {
                let read = from_server.read(&mut buffer).await?;
                if read == 0 {
                    return to_client.shutdown().await;
                }
                passed += read;
                self.bytes.fetch_add(read, Ordering::SeqCst);
                if passed >= FIRST_BYTES {
                    if carries.is_none() {
                        self.layers.fetch_add(1, Ordering::SeqCst);
                        carries = Some(Counted::among(&self.carrying));
                    }
                    self.wait_while_blocked().await;
                }
                to_client.write_all(&buffer[..read]).await?;
            }
        };
        // The side that hangs up first ends both ways.
        let _: std::io::Result<()> = tokio::select! {
            ended = requests => ended,
            ended = answers => ended,
        };
    }

    async fn wait_while_blocked(&self) {
        let mut blocked = self.blocked.subscribe();
        if *blocked.borrow() {
            let _stuck = Counted::among(&self.stuck);
            blocked.wait_for(|blocked| !*blocked).await.unwrap();
        }
    }
}

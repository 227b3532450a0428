//! A way to the registry that can be blocked: then a connection passes the first bytes on and falls silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What a blocked connection still passes on: more than any manifest or config, less than the layers behind it.
const FIRST_BYTES: usize = 64 * 1024;

/// Listens on the loopback until dropped.
pub(crate) struct Proxy {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    open: watch::Sender<bool>,
    stuck: watch::Receiver<usize>,
    carrying: watch::Receiver<usize>,
    layers: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy to a registry, open.
    pub(crate) async fn start(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, opened) = watch::channel(true);
        let (sender, stuck) = watch::channel(0);
        let (carriers, carrying) = watch::channel(0);
        let layers = Arc::new(AtomicUsize::new(0));
        let bytes = Arc::new(AtomicUsize::new(0));
        let (registry, counter, passed) = (registry.to_owned(), layers.clone(), bytes.clone());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let pass = Pass {
                    open: opened.clone(),
                    stuck: sender.clone(),
                    carrying: carriers.clone(),
                    layers: counter.clone(),
                    bytes: passed.clone(),
                };
                let registry = registry.clone();
                tokio::spawn(async move { pass.run(client, &registry).await });
            }
        });
        Self {
            address,
            open,
            stuck,
            carrying,
            layers,
            bytes,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// From now on connections fall silent after their first bytes.
    pub(crate) fn block(&self) {
        self.open.send_replace(false);
    }

    /// Everything flows, also what was stuck.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Waits until a connection is stuck.
    pub(crate) async fn stuck(&self) {
        let waiting = async {
            self.stuck
                .clone()
                .wait_for(|stuck| *stuck > 0)
                .await
                .map(drop)
        };
        super::in_time("a stuck transfer", waiting).await.unwrap();
    }

    /// Waits until no connection carries a layer any more, and tells how many bytes all of them have carried.
    pub(crate) async fn given_up(&self) -> usize {
        let mut carrying = self.carrying.clone();
        let waiting = async { carrying.wait_for(|carrying| *carrying == 0).await.map(drop) };
        super::in_time("the end of a transfer", waiting)
            .await
            .unwrap();
        self.bytes.load(Ordering::SeqCst)
    }

    /// Whether a connection is stuck.
    pub(crate) fn is_stuck(&self) -> bool {
        *self.stuck.borrow() > 0
    }

    /// How many connections have carried more than first bytes: transfers of layers.
    pub(crate) fn layers(&self) -> usize {
        self.layers.load(Ordering::SeqCst)
    }
}

struct Pass {
    open: watch::Receiver<bool>,
    stuck: watch::Sender<usize>,
    carrying: watch::Sender<usize>,
    layers: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl Pass {
    async fn run(mut self, client: TcpStream, registry: &str) {
        let Ok(server) = TcpStream::connect(registry).await else {
            return;
        };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let requests = async {
            tokio::io::copy(&mut from_client, &mut to_server)
                .await
                .map(drop)
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
                if passed < FIRST_BYTES && passed + read >= FIRST_BYTES {
                    self.layers.fetch_add(1, Ordering::SeqCst);
                    carries.get_or_insert_with(|| Stuck::count(&self.carrying));
                }
                passed += read;
                self.bytes.fetch_add(read, Ordering::SeqCst);
                if passed >= FIRST_BYTES && !*self.open.borrow() {
                    let _stuck = Stuck::count(&self.stuck);
                    if self.open.wait_for(|open| *open).await.is_err() {
                        return Ok(());
                    }
                }
                to_client.write_all(&buffer[..read]).await?;
            }
        };
        // Whoever hangs up first ends both ways.
        let _: std::io::Result<()> = tokio::select! {
            ended = requests => ended,
            ended = answers => ended,
        };
    }
}

struct Stuck<'a>(&'a watch::Sender<usize>);

impl<'a> Stuck<'a> {
    fn count(stuck: &'a watch::Sender<usize>) -> Self {
        stuck.send_modify(|stuck| *stuck += 1);
        Self(stuck)
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|stuck| *stuck -= 1);
    }
}

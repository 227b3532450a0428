//! A proxy in front of a registry that stops in the middle, so that a test can act while a pull is certainly under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// A proxy. It ends when this is dropped.
pub(crate) struct RegistryProxy {
    /// `127.0.0.1:port`, as in image references.
    pub(crate) address: String,
    open: watch::Sender<bool>,
    #[allow(dead_code, reason = "the tests that share this use a part of it each")]
    broken: watch::Sender<bool>,
    _serving: AbortOnDropHandle<()>,
}

impl RegistryProxy {
    /// A proxy in front of `registry` that lets so many bytes of answers through, and no more before it is opened.
    pub(crate) async fn start(registry: &str, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, opened) = watch::channel(false);
        let (broken, is_broken) = watch::channel(false);
        let (registry, left) = (registry.to_owned(), Arc::new(AtomicUsize::new(bytes)));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *is_broken.borrow() {
                    continue;
                }
                let server = TcpStream::connect(&registry).await.unwrap();
                connections.spawn(pass(client, server, Arc::clone(&left), opened.clone()));
            }
        });
        Self {
            address,
            open,
            broken,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Hangs up on whoever connects from now on, or does not any more.
    #[allow(dead_code, reason = "the tests that share this use a part of it each")]
    pub(crate) fn break_off(&self, broken: bool) {
        self.broken.send_replace(broken);
    }
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    left: Arc<AtomicUsize>,
    mut opened: watch::Receiver<bool>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            let within = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(length)
            });
            if within.is_err() && opened.wait_for(|open| *open).await.is_err() {
                return;
            }
            if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        // Either side hanging up ends both, as it does without a proxy.
        _ = copy(&mut from_client, &mut to_server) => {}
    }
}

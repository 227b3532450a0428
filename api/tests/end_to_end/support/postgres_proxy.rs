//! A proxy in front of PostgreSQL that counts the statements that pass, and can let none pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// The protocol version in the message that opens a session; other numbers in its place ask for something before it.
const PROTOCOL: u32 = 3 << 16;

/// The statements of other tasks fall into some measurements, and never into all of them.
const MEASUREMENTS: usize = 8;

/// A proxy. It ends when this is dropped.
pub(crate) struct PostgresProxy {
    /// The URL of the same database through the proxy.
    pub(crate) url: String,
    executed: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
    _serving: AbortOnDropHandle<()>,
}

impl PostgresProxy {
    /// A proxy in front of the database at `url`.
    pub(crate) async fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut through: url::Url = url.parse().unwrap();
        let server = format!("127.0.0.1:{}", through.port().unwrap());
        let port = listener.local_addr().unwrap().port();
        through.set_port(Some(port)).unwrap();
        let executed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&executed);
        let (open, opened) = watch::channel(true);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let passing = pass(client, server, Arc::clone(&count));
                connections.spawn(while_open(opened.clone(), passing));
            }
        });
        Self {
            url: through.to_string(),
            executed,
            open,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// How many statements were executed so far.
    pub(crate) fn executed(&self) -> usize {
        self.executed.load(Ordering::SeqCst)
    }

    /// The fewest statements that are executed while the same is done again and again.
    pub(crate) async fn fewest(&self, mut act: impl AsyncFnMut()) -> usize {
        let mut fewest = usize::MAX;
        for _ in 0..MEASUREMENTS {
            let before = self.executed();
            act().await;
            fewest = fewest.min(self.executed() - before);
        }
        fewest
    }

    /// Hangs up on everybody, until it is opened again.
    pub(crate) fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets everything through again.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Hangs up when it is closed.
async fn while_open(mut opened: watch::Receiver<bool>, passing: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        _ = opened.wait_for(|open| !open) => {}
        () = passing => {}
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, count: Arc<AtomicUsize>) {
    let (from_client, mut to_client) = client.split();
    let (mut from_server, to_server) = server.split();
    tokio::select! {
        // It ends when the client hangs up, in the middle of a read.
        _ = requests(from_client, to_server, &count) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// Passes the client's messages on, one by one (<https://www.postgresql.org/docs/15/protocol-message-formats.html>).
async fn requests(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut opened = false;
    loop {
        let mut message = Vec::new();
        if opened {
            let kind = from.read_u8().await?;
            // Execute, of the extended protocol, and Query, of the simple one.
            if matches!(kind, b'E' | b'Q') {
                count.fetch_add(1, Ordering::SeqCst);
            }
            message.push(kind);
        }
        let length = from.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await?;
        opened |= body.starts_with(&PROTOCOL.to_be_bytes());
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(&body);
        to.write_all(&message).await?;
    }
}

//! A way to the registry that remembers what was asked, headers and all.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Listens on the loopback until dropped.
pub(crate) struct Recorder {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    /// Everything that clients sent, connection by connection.
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    _task: AbortOnDropHandle<()>,
}

impl Recorder {
    /// A way to this registry.
    pub(crate) async fn start(registry: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (registry, log) = (registry.to_owned(), sent.clone());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (registry, log) = (registry.clone(), log.clone());
                tokio::spawn(async move { pass(client, &registry, &log).await });
            }
        });
        Self {
            address,
            sent,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The lines of all requests so far, in lower case.
    pub(crate) fn lines(&self) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .flat_map(|bytes| {
                let text = String::from_utf8_lossy(bytes).to_lowercase();
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
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

async fn pass(client: TcpStream, registry: &str, log: &Mutex<Vec<Vec<u8>>>) {
    let Ok(server) = TcpStream::connect(registry).await else {
        return;
    };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(Vec::new());
        log.len() - 1
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
            log.lock().unwrap()[number].extend_from_slice(&buffer[..read]);
            to_server.write_all(&buffer[..read]).await?;
        }
    };
    let answers = async {
        tokio::io::copy(&mut from_server, &mut to_client)
            .await
            .map(drop)
    };
    // Whoever hangs up first ends both ways.
    let _: std::io::Result<()> = tokio::select! {
        ended = requests => ended,
        ended = answers => ended,
    };
}

//! Ways to an engine on which requests can be held up.

use std::future::{Future, pending};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_util::task::AbortOnDropHandle;

/// Decides when requests go on to the engine.
pub(super) trait Gate: Send + Sync + 'static {
    /// Completes when a request with this first line may go on. It is dropped when its client goes.
    fn pass(&self, line: &str) -> impl Future<Output = ()> + Send;

    /// Completes when the engine does not answer any more.
    fn cut(&self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

/// A way to the engine at `unix://…`, as a `DOCKER_HOST`, until the handle is dropped.
pub(super) async fn open(engine: &str, gate: Arc<impl Gate>) -> (String, AbortOnDropHandle<()>) {
    let socket = engine.strip_prefix("unix://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (socket, gate) = (socket.clone(), Arc::clone(&gate));
            tokio::spawn(async move {
                tokio::select! {
                    () = gate.cut() => {}
                    // A connection that breaks is the client's to notice.
                    _ = carry(client, &socket, &*gate) => {}
                }
            });
        }
    });
    (url, AbortOnDropHandle::new(task))
}

async fn carry(client: TcpStream, socket: &str, gate: &impl Gate) -> std::io::Result<()> {
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
            let line = buffer[..read].split(|byte| *byte == b'\r').next();
            let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
            tokio::select! {
                biased;
                () = gate.pass(&line) => {}
                () = gone(&mut from_client) => return Ok(()),
            }
            to_engine.write_all(&buffer[..read]).await?;
        }
    };
    let answers = tokio::io::copy(&mut from_engine, &mut to_client);
    tokio::select! {
        ended = requests => ended,
        ended = answers => ended.map(drop),
    }
}

/// Completes when the client whose request waits has gone: it asks for nothing any more. `readable` gives false alarms. One that
/// sent more already is not seen to go.
async fn gone(client: &mut OwnedReadHalf) {
    if client.peek(&mut [0]).await.is_ok_and(|ahead| ahead > 0) {
        pending::<()>().await;
    }
}

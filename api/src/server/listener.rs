//! Listeners and their connections: every one that the program serves HTTP on, plain or over TLS.
//!
//! A connection has a place among a bounded number, which it loses to a new one while it waits for a request; deadlines for everything that the client has to do before a request is
//! there ([`patience`]), and ends in time when the process stops.

mod patience;
mod waiting;

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit, setrlimit};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use self::patience::{Patience, Watched};
use self::waiting::Waiting;
use crate::server::over_tls::Encrypted;
use crate::server::tls::Tls;

/// How long requests that are under way may take to end after a request to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Connections at once on a listener beside the gateway's own: the board, a worker's reports, metrics.
pub(crate) const FEW: usize = 256;

/// Open files that the gateway's connections leave to the rest of the process: the other listeners, databases, engine,
/// registries, logs.
const RESERVED: u64 = 256 + 2 * FEW as u64;

/// Open files that are asked for, where the system lets a process have so many.
const FILES: u64 = 65_536;

/// Longest head of a request, in bytes.
const MOST_HEAD: usize = 32 << 10;

/// Most bytes that a connection keeps of what was read and not yet used, and of what was not yet written.
const MOST_BUFFERED: usize = 64 << 10;

/// How long no connection is accepted after the system had no room for one.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens on the address of a setting.
pub(crate) async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: set {setting} to another address"))
}

/// Connections that the gateway may have at once: as many as the process may open files, less what the rest of it needs.
/// Raises the limit of open files as far as the process may, up to [`FILES`]: shells set it low for programs of another age.
pub(crate) fn most() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.unwrap_or(FILES).min(FILES);
    if limit.current.is_some_and(|current| current < raised) {
        limit.current = Some(raised);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "could not raise the limit of open files");
        }
    }
    let files = getrlimit(Resource::Nofile).current;
    let most = files.map_or(u64::MAX, |files| {
        files.saturating_sub(RESERVED).max(files / 2)
    });
    usize::try_from(most).map_or(Semaphore::MAX_PERMITS, |most| {
        most.clamp(1, Semaphore::MAX_PERMITS)
    })
}

/// What the connections of a listener are like.
#[derive(Clone)]
pub(crate) struct Connections {
    /// None where they are not encrypted.
    pub(crate) tls: Option<Tls>,
    /// How long a client may take nothing of what it is sent.
    pub(crate) patience: Duration,
    /// How many there may be at once. Further ones wait to be accepted.
    pub(crate) most: usize,
}

impl Connections {
    /// The scheme of the listener's URL.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// The same connections, but no more than [`FEW`] of them.
    pub(crate) fn few(&self) -> Self {
        Self {
            most: FEW,
            ..self.clone()
        }
    }
}

/// Serves until `stop`, then lets requests end, for a bounded time.
pub(crate) async fn serve(
    listener: TcpListener,
    connections: Connections,
    app: Router,
    stop: CancellationToken,
) {
    let app = match connections.tls {
        Some(_) => app.layer(Extension(Encrypted)),
        None => app,
    };
    let server = Arc::new(Server {
        app: app.with_state(()),
        tls: connections.tls,
        stop: stop.clone(),
        waiting: Waiting::default(),
    });
    let places = Arc::new(Semaphore::new(connections.most));
    let open = TaskTracker::new();
    loop {
        let (stream, address, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places, &server.waiting) => accepted,
        };
        tune(&stream, connections.patience);
        open.spawn(Arc::clone(&server).answer(stream, address, place));
    }
    drop(listener);
    open.close();
    // What has not ended by then ends with the process.
    let _ = tokio::time::timeout(DRAIN, open.wait()).await;
}

/// The next connection, with a place. Where there is none, the connection gives its place up that has waited longest for a
/// request; where all are at work, the new one waits until one ends.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    waiting: &Waiting,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let (stream, address) = loop {
        match listener.accept().await {
            Ok(accepted) => break accepted,
            Err(error) => recover(&error).await,
        }
    };
    if places.available_permits() == 0 {
        waiting.end_longest();
    }
    let place = Arc::clone(places).acquire_owned().await;
    (
        stream,
        address,
        place.expect("the semaphore is never closed"),
    )
}

/// Goes on after a connection could not be accepted. Where there are too many open files, others may close meanwhile.
async fn recover(error: &Error) {
    let of_client = [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
    ];
    if !of_client.contains(&error.kind()) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What answers the requests of a listener.
struct Server {
    app: Router,
    tls: Option<Tls>,
    stop: CancellationToken,
    waiting: Waiting,
}

impl Server {
    /// Answers the requests of one connection.
    async fn answer(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) {
        let patience = Patience::usual(self.waiting.clone());
        let served = match &self.tls {
            None => self.talk(stream, address, place, patience).await,
            Some(tls) => {
                let end = Arc::<Notify>::default();
                let waits = self.waiting.enter(Arc::clone(&end));
                let accepted = tokio::select! {
                    accepted = tls.accept(stream) => accepted,
                    () = end.notified() => return,
                };
                drop(waits);
                match accepted {
                    Ok(stream) => self.talk(stream, address, place, patience).await,
                    // The client speaks something else, or does not trust the certificate.
                    Err(error) => return tracing::debug!(%error, "no TLS with a client"),
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
        patience: Patience,
    ) -> hyper::Result<()> {
        let stream = Watched::new(stream, &patience, place);
        let app = &self.app;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(address));
            app.clone().oneshot(request)
        });
        let mut builder = http1::Builder::new();
        builder
            .max_header_size(MOST_HEAD)
            .max_buf_size(MOST_BUFFERED);
        builder
            .header_read_timeout(patience.most())
            .timer(patience.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection.with_upgrades());
        tokio::select! {
            biased;
            served = connection.as_mut() => return served,
            () = patience.ended() => return Ok(()),
            () = self.stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }
}

/// Makes small answers go out without waiting for an acknowledgement of the one before, and ends a connection whose client
/// takes nothing of an answer for `patience`.
#[cfg_attr(
    not(target_os = "linux"),
    expect(unused_variables, reason = "only Linux has the option")
)]
fn tune(stream: &TcpStream, patience: Duration) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(patience)) {
        tracing::debug!(%error, "could not set TCP_USER_TIMEOUT");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: wharf\r\n\r\n";
    const SHORT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_mins(10);

    /// A connection to a server that answers `ok`, and its task, which ends with it.
    fn connected(head: Duration, idle: Duration) -> (DuplexStream, JoinHandle<()>) {
        connected_among(Waiting::default(), head, idle)
    }

    fn connected_among(
        waiting: Waiting,
        head: Duration,
        idle: Duration,
    ) -> (DuplexStream, JoinHandle<()>) {
        let (client, served) = duplex(1 << 16);
        let app = Router::new().route("/", get(async || "ok"));
        let server = Server {
            app: app.with_state(()),
            tls: None,
            stop: CancellationToken::new(),
            waiting: waiting.clone(),
        };
        let task = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(1));
            let place = places.acquire_owned().await.unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            let patience = Patience::new(head, idle, waiting);
            let _ = server.talk(served, address, place, patience).await;
        });
        (client, task)
    }

    async fn ask(client: &mut DuplexStream) {
        client.write_all(REQUEST).await.unwrap();
        let mut answer = [0; 1024];
        let read = client.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn the_first_head_has_its_time_from_the_beginning() {
        let begin = Instant::now();
        let (client, task) = connected(SHORT, LONG);
        task.await.unwrap();
        assert!(begin.elapsed() >= SHORT);
        drop(client);
    }

    #[tokio::test]
    async fn a_connection_may_rest_between_requests() {
        let (mut client, task) = connected(SHORT / 2, SHORT);
        ask(&mut client).await;
        ask(&mut client).await;
        let begin = Instant::now();
        task.await.unwrap();
        // The server may have begun to wait before this clock did.
        assert!(begin.elapsed() >= SHORT * 3 / 4);
    }

    #[tokio::test]
    async fn a_head_that_has_begun_may_not_rest() {
        let (mut client, task) = connected(SHORT, LONG);
        ask(&mut client).await;
        client.write_all(&REQUEST[..9]).await.unwrap();
        // Long before the connection has rested for too long.
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_refused() {
        let (mut client, task) = connected(LONG, LONG);
        let value = "x".repeat(MOST_HEAD);
        let head = format!("GET / HTTP/1.1\r\nhost: wharf\r\nx: {value}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_head_without_an_end_is_refused_when_its_bound_is_reached() {
        let (mut client, task) = connected(LONG, LONG);
        client.write_all(REQUEST.trim_ascii_end()).await.unwrap();
        let value = format!("\r\nx: {}", "x".repeat(2 * MOST_BUFFERED));
        // The server may end the connection before it has read all of it.
        let _ = client.write_all(value.as_bytes()).await;
        task.await.unwrap();
    }

    /// One client cannot keep all places: connections that ask for nothing lose theirs to new ones.
    #[tokio::test]
    async fn a_connection_that_waits_gives_its_place_to_a_new_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections {
            tls: None,
            patience: LONG,
            most: 2,
        };
        let app = Router::new().route("/", get(async || "ok"));
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, connections, app, stop.clone()));
        let mut resting = Vec::new();
        for _ in 0..20 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(REQUEST).await.unwrap();
            let mut answer = [0; 1024];
            let read = tokio::time::timeout(LONG / 20, client.read(&mut answer));
            let read = read.await.unwrap().unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
            resting.push(client);
        }
        stop.cancel();
        drop(resting);
        serving.await.unwrap();
    }
}

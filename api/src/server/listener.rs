//! Listeners and their connections: everything that the program serves HTTP on, plain or over TLS.
//!
//! A listener has a bounded number of connections. [`patience`] sets deadlines for what the client has to do before a request
//! is there, and lists the connections that wait for one, which lose their places to new ones. [`connection`] serves the
//! requests of one connection, until the client or the process ends it.

mod connection;
mod patience;

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::{Extension, Router};
use rustix::process::{Resource, getrlimit, setrlimit};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Server;
use self::patience::Waiting;
use crate::server::forwarded::Encrypted;
use crate::server::tls::Tls;

/// How long running requests may take to end after a request to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Most connections at once of a listener beside the gateway's own: the board's, a worker's reports, metrics.
pub(crate) const FEW: usize = 256;

/// Open files that the gateway's connections leave to the rest of the process, such as other listeners and databases.
const RESERVED: u64 = 256 + 2 * FEW as u64;

/// Open files that the process asks the system for.
const FILES: u64 = 65_536;

/// How long the listener waits after the system could not accept a connection.
const PAUSE: Duration = Duration::from_secs(1);

/// Listens on the address of a setting. Fails with a message that names the setting.
pub(crate) async fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}: set {setting} to another address"))
}

/// Returns the number of connections that the gateway may have at once: as many as the process may open files, less
/// [`RESERVED`]. First raises the limit of open files as far as the process may, up to [`FILES`], because shells set it low.
pub(crate) fn most() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let raised = limit.maximum.unwrap_or(FILES).min(FILES);
    if limit.current.is_some_and(|current| current < raised) {
        limit.current = Some(raised);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "could not raise the limit of open files");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = files.saturating_sub(RESERVED).max(files / 2);
    usize::try_from(most)
        .unwrap_or(usize::MAX)
        .clamp(1, Semaphore::MAX_PERMITS)
}

/// Properties of the connections of a listener.
#[derive(Clone)]
pub(crate) struct Connections {
    /// `None` for plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// How long a client may read nothing of a response before its connection ends.
    pub(crate) patience: Duration,
    /// Most connections at once. Further ones wait to be accepted.
    pub(crate) most: usize,
}

impl Connections {
    /// The scheme of the listener's URL.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Returns a copy with room for at most [`FEW`] connections.
    pub(crate) fn few(&self) -> Self {
        Self {
            most: FEW,
            ..self.clone()
        }
    }
}

/// Serves `app` until `stop`, and then for at most [`DRAIN`] until all requests have ended.
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
    // Requests that have not ended by then end with the process.
    let _ = tokio::time::timeout(DRAIN, open.wait()).await;
}

/// Returns the next connection, with a place. Where none is free, the connection that has waited longest for a request loses
/// its place; where all have a request, the new connection waits until one ends.
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
    let place = place.expect("the semaphore is never closed");
    (stream, address, place)
}

/// Logs that a connection could not be accepted, and waits [`PAUSE`], in which open files may close. Faults of the client are
/// neither logged nor waited for.
async fn recover(error: &Error) {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionRefused | ConnectionAborted | ConnectionReset
    ) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends small responses without waiting for an acknowledgement of the one before, and ends a connection whose client reads
/// nothing of a response for `patience`.
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

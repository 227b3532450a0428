//! One connection: its TLS handshake and its requests.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::patience::{HEAD, IDLE, Patience, Waiting};
use crate::server::tls::Tls;

/// Longest head of a request, in bytes.
const MOST_HEAD: usize = 32 << 10;

/// Most bytes of a connection that were read and not used, and most that were not written.
const MOST_BUFFERED: usize = 64 << 10;

/// The state that the connections of a listener share.
pub(super) struct Server {
    pub(super) app: Router,
    pub(super) tls: Option<Tls>,
    pub(super) stop: CancellationToken,
    pub(super) waiting: Waiting,
}

impl Server {
    /// Serves the requests of one connection until it ends.
    pub(super) async fn answer(
        self: Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) {
        let patience = Patience::new(HEAD, IDLE, self.waiting.clone());
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
                    // The client speaks another protocol, or does not trust the certificate.
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
        let stream = patience.watch(stream, place);
        let app = &self.app;
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(address));
            app.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .max_header_size(MOST_HEAD)
            .max_buf_size(MOST_BUFFERED)
            .header_read_timeout(patience.most())
            .timer(patience.clone())
            .serve_connection(TokioIo::new(stream), service);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::super::{Connections, serve};
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: wharf\r\n\r\n";
    const SHORT: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_mins(10);

    /// A connection to a server that answers `ok`, and its task, which ends with it.
    fn connected(head: Duration, idle: Duration) -> (DuplexStream, JoinHandle<()>) {
        let (client, served) = duplex(1 << 16);
        let app = Router::new().route("/", get(async || "ok"));
        let server = Server {
            app: app.with_state(()),
            tls: None,
            stop: CancellationToken::new(),
            waiting: Waiting::default(),
        };
        let task = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(1));
            let place = places.acquire_owned().await.unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], 1));
            let patience = Patience::new(head, idle, server.waiting.clone());
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

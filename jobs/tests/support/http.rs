//! Just enough HTTP to be a registry or an engine: one request for each connection.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// A request, with its connection to answer on.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    pub(crate) connection: BufReader<TcpStream>,
}

impl Request {
    async fn read(connection: TcpStream) -> Option<Self> {
        let mut connection = BufReader::new(connection);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut first = lines.first()?.split(' ').map(str::to_owned);
        Some(Self {
            method: first.next()?,
            path: first.next()?,
            headers: lines.split_off(1),
            connection,
        })
    }

    /// Answers, with `length` in the head whatever the body's.
    pub(crate) async fn begin(&mut self, status: &str, headers: &str, length: usize, body: &[u8]) {
        let body = if self.method == "HEAD" { b"" } else { body };
        let headers = format!("{headers}Content-Length: {length}\r\n");
        self.write(status, &headers, body).await;
    }

    /// Answers without a length, so that the answer ends with the connection.
    pub(crate) async fn write(&mut self, status: &str, headers: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        // The peer may be gone: that is its business.
        let _ = self.connection.write_all(head.as_bytes()).await;
        let _ = self.connection.write_all(body).await;
        let _ = self.connection.flush().await;
    }

    pub(crate) async fn answer(mut self, status: &str, headers: &str, body: &[u8]) {
        self.begin(status, headers, body.len(), body).await;
        let _ = self.connection.shutdown().await;
    }

    /// Sends a body at ten kilobytes a second, until the peer has had enough.
    pub(crate) async fn trickle(mut self, body: &[u8]) {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for bytes in body.chunks(100) {
            ticks.tick().await;
            if self.connection.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    /// Completes when the peer has closed the connection.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        let _ = self.connection.read_to_end(&mut rest).await;
    }
}

/// Serves on a free port of the loopback, until dropped.
pub(crate) async fn serve<F: Future<Output = ()> + Send>(
    answer: impl Fn(Request) -> F + Clone + Send + 'static,
) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            connections.spawn(async move {
                if let Some(request) = Request::read(connection).await {
                    answer(request).await;
                }
            });
        }
    };
    (address, AbortOnDropHandle::new(tokio::spawn(serving)))
}

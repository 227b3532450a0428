//! Just enough HTTP to be, and to fill, a registry: one request for each connection.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::image::{MANIFEST_TYPE, TestImage, digest};

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
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        // The peer may be gone: that is its business.
        let _ = self.connection.write_all(head.as_bytes()).await;
        if self.method != "HEAD" {
            let _ = self.connection.write_all(body).await;
        }
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

/// What a registry answers about an image; none for a path that is not of it.
pub(crate) fn registry_answer(image: &TestImage, path: &str) -> Option<(String, Vec<u8>)> {
    if path == "/v2/" {
        return Some((String::new(), Vec::new()));
    }
    if path.contains("/manifests/") {
        let digest = digest(&image.manifest);
        let headers =
            format!("Content-Type: {MANIFEST_TYPE}\r\nDocker-Content-Digest: {digest}\r\n");
        return Some((headers, image.manifest.clone()));
    }
    let blob = image.blobs().find(|blob| path.ends_with(&digest(blob)))?;
    Some((String::new(), blob.clone()))
}

/// Puts an image into a registry.
pub(crate) async fn push(registry: &str, repository: &str, tag: &str, image: &TestImage) {
    for blob in image.blobs() {
        let answer = send(
            registry,
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            b"",
        )
        .await;
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .unwrap_or_else(|| panic!("no upload begun: {answer}"));
        let path = location
            .split_once(registry)
            .map_or(location, |(_, path)| path);
        let digest = digest(blob);
        let answer = send(registry, "PUT", &format!("{path}&digest={digest}"), blob).await;
        assert!(answer.contains(" 201 "), "{answer}");
    }
    let path = format!("/v2/{repository}/manifests/{tag}");
    let answer = send(registry, "PUT", &path, &image.manifest).await;
    assert!(answer.contains(" 201 "), "{answer}");
}

async fn send(host: &str, method: &str, path: &str, body: &[u8]) -> String {
    let mut connection = TcpStream::connect(host).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {MANIFEST_TYPE}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(body).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer.replace("\r\n", "\n")
}

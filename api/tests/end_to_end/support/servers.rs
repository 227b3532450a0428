//! The servers beside the program: those that `make test` started, and a Redis of a test's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rand::RngCore as _;
use sea_orm::{ConnectionTrait as _, Database};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;
use wharfinger_jobs::testing::image::layer;

use super::until;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// `unix://…` of the first (1) or second (2) Docker engine.
pub(crate) fn engine(number: usize) -> String {
    variable(&format!("WHARFINGER_TEST_DOCKER_HOST_{number}"))
}

/// A kind of database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    MariaDb,
}

impl Server {
    /// The URL of a new, empty database on it.
    pub(crate) async fn database(self) -> String {
        let url = variable(match self {
            Self::Postgres => "WHARFINGER_TEST_POSTGRES_URL",
            Self::MariaDb => "WHARFINGER_TEST_MYSQL_URL",
        });
        database_on(&url).await
    }
}

/// The URL of a new, empty database beside the one at `url`.
pub(crate) async fn database_on(url: &str) -> String {
    let name = format!("e2e_{}", Uuid::new_v4().simple());
    let server = Database::connect(url).await.unwrap();
    let create = format!("CREATE DATABASE {name}");
    server.execute_unprepared(&create).await.unwrap();
    server.close().await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// An image name that no other test uses.
pub(crate) fn unique_name() -> String {
    format!("e2e-{}", Uuid::new_v4().simple())
}

/// A layer of one file of so many bytes that nothing can compress, and its size unpacked.
pub(crate) fn random_layer(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    rand::rng().fill_bytes(&mut content);
    layer("content", &content)
}

/// A Redis server of one test: to stop, start again and flush.
pub(crate) struct PrivateRedis {
    port: u16,
    directory: PathBuf,
    server: Option<Child>,
    _temporary: Option<TempDir>,
}

impl PrivateRedis {
    /// A server that runs.
    pub(crate) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        Self::start_with(directory.path().to_owned(), Some(directory)).await
    }

    /// A server that runs, with its files in this directory.
    pub(crate) async fn start_in(directory: &Path) -> Self {
        Self::start_with(directory.to_owned(), None).await
    }

    async fn start_with(directory: PathBuf, temporary: Option<TempDir>) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut redis = Self {
            port: free.local_addr().unwrap().port(),
            directory,
            server: None,
            _temporary: temporary,
        };
        drop(free);
        redis.up().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts the server, empty, and waits until it answers.
    pub(crate) async fn up(&mut self) {
        let server = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &self.port.to_string()])
            .arg("--dir")
            .arg(&self.directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.server = Some(server);
        until("redis-server answers", async || {
            self.ask("PING").await.filter(|answer| answer == "+PONG")
        })
        .await;
    }

    /// Kills the server; what it held is gone.
    pub(crate) fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Empties it while it runs.
    pub(crate) async fn flush(&self) {
        assert_eq!(self.ask("FLUSHALL").await.as_deref(), Some("+OK"));
    }

    /// How many connections subscribe to channels.
    pub(crate) async fn subscribing(&self) -> usize {
        let list = self.tell("CLIENT LIST TYPE pubsub").await;
        list.lines().filter(|line| line.starts_with("id=")).count()
    }

    /// Whether a line of what it says of its files is this.
    pub(crate) async fn has(&self, line: &str) -> bool {
        let info = self.tell("INFO persistence").await;
        info.lines().any(|told| told == line)
    }

    /// The whole answer to an inline command.
    async fn tell(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let command = format!("{command}\r\nQUIT\r\n");
        stream.write_all(command.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The first line of the answer to an inline command; none while there is no server.
    pub(crate) async fn ask(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let command = format!("{command}\r\n");
        stream.write_all(command.as_bytes()).await.ok()?;
        let mut answer = [0; 128];
        let length = stream.read(&mut answer).await.ok()?;
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        answer.lines().next().map(ToOwned::to_owned)
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.down();
    }
}

//! A Redis server of one test: to stop, start again and flush.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Longer than its start takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// It ends with this.
pub(crate) struct PrivateRedis {
    port: u16,
    directory: PathBuf,
    server: Option<Child>,
    _temporary: Option<TempDir>,
}

impl PrivateRedis {
    /// A server that runs.
    pub(crate) async fn start() -> Self {
        let mut redis = Self::down();
        redis.up().await;
        redis
    }

    /// A server that runs, with its files in this directory.
    pub(crate) async fn start_in(directory: &Path) -> Self {
        let mut redis = Self::at(directory.to_owned(), None);
        redis.up().await;
        redis
    }

    /// The address of a server that does not run yet.
    pub(crate) fn down() -> Self {
        let directory = TempDir::new().unwrap();
        Self::at(directory.path().to_owned(), Some(directory))
    }

    fn at(directory: PathBuf, temporary: Option<TempDir>) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: free.local_addr().unwrap().port(),
            directory,
            server: None,
            _temporary: temporary,
        }
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
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.server = Some(server);
        let answers = async {
            while self.ask("PING").await.as_deref() != Some("+PONG") {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let answers = timeout(DEADLINE, answers).await;
        answers.expect("redis-server answers");
    }

    /// Kills the server; what it held is gone.
    pub(crate) fn kill(&mut self) {
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
        self.kill();
    }
}

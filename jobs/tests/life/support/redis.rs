//! A Redis of a test's own, to stop and to flush.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use super::eventually;

/// A `redis-server`; ends when dropped.
pub(crate) struct PrivateRedis {
    port: u16,
    process: Option<Child>,
}

impl PrivateRedis {
    /// An address at which nobody listens yet.
    pub(crate) fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: free.local_addr().unwrap().port(),
            process: None,
        }
    }

    /// `redis://…`
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, empty.
    pub(crate) async fn start(&mut self) {
        let arguments = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("Debian's package redis-server is installed");
        self.process = Some(process);
        let client = redis::Client::open(self.url()).unwrap();
        eventually("Redis answers", || async {
            client
                .get_multiplexed_async_connection()
                .await
                .ok()
                .map(drop)
        })
        .await;
    }

    /// `FLUSHALL`
    pub(crate) async fn flush(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        redis::cmd("FLUSHALL")
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Already ended is fine.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

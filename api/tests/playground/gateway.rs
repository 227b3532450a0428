//! The program itself, with a worker for the test's Docker engine, and an image to pull.

use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;
use wharfinger_jobs::testing::image::layer;
use wharfinger_jobs::testing::registry::TestRegistry;

const DEADLINE: Duration = Duration::from_secs(30);

/// A running gateway. It ends with this.
pub(crate) struct Gateway {
    /// Of a user with the credits that everyone starts with.
    pub(crate) token: String,
    /// What can be pulled there.
    pub(crate) image: String,
    address: String,
    _process: Child,
    _registry: TestRegistry,
    _data: TempDir,
}

impl Gateway {
    /// Starts it on a free port.
    pub(crate) async fn start() -> Self {
        let engine = std::env::var("WHARFINGER_TEST_DOCKER_HOST_1")
            .expect("WHARFINGER_TEST_DOCKER_HOST_1 is not set: run `make test`");
        let registry = TestRegistry::open();
        let name = format!("playground-{}", Uuid::new_v4().simple());
        let layers = vec![layer("one", name.as_bytes()), layer("two", b"of two")];
        registry.push_layers(&name, "1", layers).await;

        let data = TempDir::new().unwrap();
        let program = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wharfinger"));
            command
                .args(arguments)
                .env_clear()
                .env("DOCKER_HOST", &engine)
                .env("WHARFINGER_BOARD__LISTEN", "")
                .env("WHARFINGER_DATA_DIR", data.path())
                .env("WHARFINGER_HOST_NAME", "playground")
                .env("WHARFINGER_LISTEN", "127.0.0.1:0")
                .env("WHARFINGER_REGISTRIES__ALLOW", "127.0.0.1:*")
                .kill_on_drop(true);
            command
        };
        let made = program(&["user", "create", "ada"]).output().await.unwrap();
        assert!(made.status.success(), "{made:?}");
        let mut process = program(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = timeout(DEADLINE, async {
            loop {
                let line = log.next_line().await.unwrap();
                let line = line.expect("the gateway ends only with the test");
                if let Some((_, address)) = line.split_once("the gateway listens on http://") {
                    let end = address.find('"').unwrap_or(address.len());
                    return address[..end].to_owned();
                }
            }
        })
        .await
        .expect("the gateway says where it listens");
        // Read on, so that it can write on.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self {
            token: String::from_utf8(made.stdout).unwrap().trim().to_owned(),
            image: format!("{}/{name}:1", registry.address),
            address,
            _process: process,
            _registry: registry,
            _data: data,
        }
    }

    /// A page of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

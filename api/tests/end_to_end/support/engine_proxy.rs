//! A proxy in front of a Docker engine that lets a pull end and then holds back what the worker asks about its image:
//! so the engine has the image, and nothing is settled.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::support::soon;

/// The end of a chunked answer, as the engine sends a pull's events.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A proxy. It ends when this is dropped.
pub(crate) struct EngineProxy {
    /// `tcp://127.0.0.1:port`
    pub(crate) url: String,
    stage: watch::Receiver<Stage>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Passing,
    Pulled,
    Holding,
}

impl EngineProxy {
    /// A proxy in front of the engine at `unix://…`.
    pub(crate) async fn start(engine: &str) -> Self {
        let path = engine.strip_prefix("unix://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let (sender, stage) = watch::channel(Stage::Passing);
        let sender = Arc::new(sender);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let engine = UnixStream::connect(&path).await.unwrap();
                connections.spawn(pass(client, engine, Arc::clone(&sender)));
            }
        });
        Self {
            url,
            stage,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Waits until the engine has ended a pull and the worker was stopped on its way to the settle.
    pub(crate) async fn holds(&mut self) {
        let holding = self.stage.wait_for(|stage| *stage == Stage::Holding);
        soon("the worker asks for the pulled image", holding)
            .await
            .unwrap();
    }
}

async fn pass(mut client: TcpStream, mut engine: UnixStream, stage: Arc<watch::Sender<Stage>>) {
    let mut pulls = false;
    let (mut request, mut answer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                // The worker sends the head of a request in one piece, and one request at a time on a connection.
                let head = String::from_utf8_lossy(&request[..length]);
                let line = head.lines().next().unwrap_or_default();
                pulls |= line.starts_with("POST ") && line.contains("/images/create");
                let inspects = line.starts_with("GET ") && line.contains("/images/") && !line.contains("/images/json");
                if inspects && *stage.borrow() != Stage::Passing {
                    stage.send_replace(Stage::Holding);
                    return std::future::pending().await;
                }
                if engine.write_all(&request[..length]).await.is_err() { return }
            }
            read = engine.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                // Before the worker knows of it: what it asks next is held back.
                if pulls && answer[..length].ends_with(LAST_CHUNK) {
                    stage.send_if_modified(|stage| {
                        let passing = *stage == Stage::Passing;
                        if passing { *stage = Stage::Pulled }
                        passing
                    });
                }
                if client.write_all(&answer[..length]).await.is_err() { return }
            }
        }
    }
}

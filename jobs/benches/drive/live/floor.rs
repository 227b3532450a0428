//! The least that can be had: a bare axum WebSocket handler with a `watch` channel for each topic, in a process of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;

use crate::Outcome;

type Topics = Arc<Vec<watch::Sender<Utf8Bytes>>>;

/// The floor's process. What is written to it goes to its subscribers.
pub(crate) struct Floor {
    child: tokio::process::Child,
    input: tokio::process::ChildStdin,
    pub(crate) address: SocketAddr,
}

impl Floor {
    pub(crate) async fn start(topics: usize) -> Outcome<Self> {
        let mut child = tokio::process::Command::from({
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["floor", &topics.to_string()]);
            command
        })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = child.stdout.take().ok_or("no output")?;
        let line = BufReader::new(output).lines().next_line().await?;
        let address = line.ok_or("the floor did not start")?.parse()?;
        Ok(Self {
            child,
            input,
            address,
        })
    }

    pub(crate) fn id(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or("the floor has ended")?)
    }

    pub(crate) async fn tell(&mut self, topic: usize, text: &str) -> Outcome {
        let line = format!("{topic} {text}\n");
        self.input.write_all(line.as_bytes()).await?;
        Ok(())
    }
}

/// `drive floor TOPICS`: prints its address, then tells subscribers of `/N` what the lines `N TEXT` of its input say.
pub(crate) async fn serve(topics: usize) -> Outcome {
    let first = Utf8Bytes::from_static("{\"type\":\"next\",\"sequence\":0}");
    let topics: Topics = Arc::new(
        (0..topics)
            .map(|_| watch::channel(first.clone()).0)
            .collect(),
    );
    let app = Router::new()
        .route("/{topic}", get(upgrade))
        .with_state(Arc::clone(&topics));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (topic, text) = line.split_once(' ').ok_or("no topic")?;
        topics[topic.parse::<usize>()?].send_replace(text.into());
    }
    Ok(())
}

async fn upgrade(
    State(topics): State<Topics>,
    Path(topic): Path<usize>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let changes = topics[topic].subscribe();
    upgrade
        .protocols(["graphql-transport-ws"])
        .read_buffer_size(4096)
        .on_upgrade(move |socket| follow(socket, changes))
}

async fn follow(mut socket: WebSocket, mut changes: watch::Receiver<Utf8Bytes>) {
    changes.mark_changed();
    loop {
        tokio::select! {
            changed = changes.changed() => {
                let text = changes.borrow_and_update().clone();
                if changed.is_err() || socket.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
            message = socket.recv() => if !matches!(message, Some(Ok(_))) {
                return;
            },
        }
    }
}

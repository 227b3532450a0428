//! A relay of bytes between a worker and its Docker engine, which notes when the engine is asked to pull.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::Outcome;

/// Listens at `tap.sock` in a directory. The instants of `POST …/images/create` arrive at the receiver, taken when the
/// request's first bytes have arrived and before they go on.
pub(crate) fn open(
    directory: &Path,
    engine: PathBuf,
) -> Outcome<(PathBuf, mpsc::UnboundedReceiver<Instant>)> {
    let path = directory.join("tap.sock");
    let listener = UnixListener::bind(&path)?;
    let (pulls, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(relay(client, engine.clone(), pulls.clone()));
        }
    });
    Ok((path, seen))
}

async fn relay(
    client: UnixStream,
    engine: PathBuf,
    pulls: mpsc::UnboundedSender<Instant>,
) -> std::io::Result<()> {
    let engine = UnixStream::connect(engine).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let back = tokio::spawn(async move {
        tokio::io::copy(&mut from_engine, &mut to_client).await?;
        to_client.shutdown().await
    });
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from_client.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        // The client writes each request's head at once: no line is cut in two.
        if asks_for_pull(&buffer[..length]) {
            let _ = pulls.send(Instant::now());
        }
        to_engine.write_all(&buffer[..length]).await?;
    }
    to_engine.shutdown().await?;
    back.await?
}

fn asks_for_pull(bytes: &[u8]) -> bool {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    line.starts_with(b"POST ")
        && line
            .windows(b"/images/create?".len())
            .any(|window| window == b"/images/create?")
}

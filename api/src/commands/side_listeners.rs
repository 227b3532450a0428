//! Listeners beside the main one: metrics and the board.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use wharfinger_jobs::infra::tasks::NeededBy;

use crate::board;
use crate::config::Config;
use crate::http::ANSWER_HEADERS;
use crate::observability::health::{self, Health};
use crate::server::listener::{self, Connections, listen};
use crate::startup::signals::Stop;

/// Opens the listener of `metrics.listen`; `None` where it is not set.
pub(super) async fn metrics_listener(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.metrics.listen else {
        return Ok(None);
    };
    let setting = "metrics.listen (WHARFINGER_METRICS__LISTEN)";
    listen(address, setting).await.map(Some)
}

/// Serves `/metrics` in plain HTTP on `own`, where it has a listener, and returns no routes then. Else returns the route for
/// another listener.
pub(super) fn place_metrics(
    tasks: &TaskTracker,
    health: &Health,
    own: Option<TcpListener>,
    connections: &Connections,
    stop: &Stop,
) -> anyhow::Result<Router> {
    let metrics = health::metrics(health.clone());
    let Some(listener) = own else {
        return Ok(metrics);
    };
    tracing::info!("metrics are on http://{}", listener.local_addr()?);
    let connections = Connections {
        tls: None,
        ..connections.few()
    };
    let app = metrics.layer(ANSWER_HEADERS);
    let close = stop.close.clone();
    let task = health.services.tasks.task("metrics", NeededBy::None);
    let serving = listener::serve(listener, connections, app, close.clone());
    tasks.spawn(task.run(close, serving));
    Ok(Router::new())
}

/// Serves the board beside the gateway. Where its port is taken, for instance by another gateway on this machine, logs a
/// warning and serves none.
pub(super) async fn open_board(
    tasks: &TaskTracker,
    address: SocketAddr,
    connections: Connections,
    auth: board::BoardAuth,
    stop: &Stop,
) -> anyhow::Result<()> {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(
                "the board is off: another program listens on {address}. Set board.listen (WHARFINGER_BOARD__LISTEN) to another address, or to nothing"
            );
            return Ok(());
        }
        Err(error) => {
            return Err(error).with_context(|| {
                format!("cannot listen on {address}: set board.listen (WHARFINGER_BOARD__LISTEN) to another address")
            });
        }
    };
    tracing::info!(
        "the board listens on {}://{}",
        connections.scheme(),
        listener.local_addr()?
    );
    let close = stop.close.clone();
    let task = auth.services.tasks.task("board", NeededBy::None);
    let app = board::router(auth, close.clone());
    let serving = listener::serve(listener, connections, app, close.clone());
    tasks.spawn(task.run(close, serving));
    Ok(())
}

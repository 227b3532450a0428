//! `wharfinger serve`: the gateway and, unless told otherwise, a worker for the local engine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::{Redirect, Response};
use axum::routing::get;
use axum::{Router, middleware};
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wharfinger_jobs::infra::tasks::NeededBy;
use wharfinger_jobs::maintenance::write_probe::WriteProbe;
use wharfinger_jobs::{dispatch, maintenance, sweep_images};

use crate::auth::token_authenticator::TokenGate;
use crate::config::Config;
use crate::http::{self, SecurityHeaders, TransportSettings, WithoutNul, playground};
use crate::observability::health::{self, Health};
use crate::observability::metrics;
use crate::server::listener::{self, Connections, listen};
use crate::server::over_tls::strict_transport;
use crate::server::tls::Tls;
use crate::startup::signals::{self, Stop};
use crate::startup::supervise::supervised;
use crate::startup::{first_admin, parts};
use crate::{board, graphql};

/// Which parts run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) worker: bool,
    pub(crate) migrate: bool,
}

/// Serves until a signal to stop.
pub(crate) async fn serve(config: Config, run: Parts) -> anyhow::Result<()> {
    let metrics = metrics::start(config.metrics)?;
    let connections = Connections {
        tls: Tls::load(&config.tls)?,
        patience: config.websocket.send_timeout,
        most: listener::most(),
    };
    let listener = listen(config.listen, "listen (WHARFINGER_LISTEN)").await?;
    let for_metrics = metrics_listener(&config).await?;
    let services = parts::gateway(&config, run.migrate).await?;
    first_admin::make(&config, &services).await?;
    let worker = if run.worker {
        Some(parts::worker(&config, &services).await?)
    } else {
        None
    };

    let stop = signals::stop(&services.tasks, config.shutdown.unready);
    metrics::keep_up(metrics.clone(), &services.tasks);
    let health = Health {
        services: services.clone(),
        engine: worker
            .as_ref()
            .map(wharfinger_jobs::worker::Worker::engine_answers),
        engine_required: false,
        metrics,
        writes: WriteProbe::start(&services, &stop.close),
        told_to_stop: stop.told.clone(),
        gauges: Arc::default(),
        readiness: Arc::default(),
    };
    let requests = services.for_requests();
    let schema = graphql::schema(requests.clone());
    let gate = TokenGate::new(requests, config.trusted_proxies(), schema.rules());
    let door = board::Door {
        services: services.clone(),
        sessions: gate.sessions(),
        lookups: gate.lookups_of_strangers(),
        trusted_proxies: config.trusted_proxies().into(),
    };
    let min_size = config.compression.min_size;
    let transport = TransportSettings {
        trusted: parts::trusted_documents(&config)?,
        ..config.transport()
    };
    let gateway = http::router(WithoutNul(schema), gate, transport, stop.close.clone());
    let gateway = http::compress(gateway, min_size);
    let trusted: Arc<[IpNet]> = config.trusted_proxies().into();
    let tasks = TaskTracker::new();
    let mut app = gateway
        .merge(pages())
        .merge(health::router(health.clone()))
        .merge(place_metrics(
            &tasks,
            &health,
            for_metrics,
            &connections,
            &stop,
        )?);
    // Where nobody may ask for the schema, it does not lie beside either.
    if config.limits.introspection {
        app = app.merge(http::tagged(
            "/schema.graphql",
            "application/graphql; charset=utf-8",
            graphql::sdl(),
            min_size,
        ));
    }
    let app = app
        .layer(SecurityHeaders::ANSWERS)
        .layer(middleware::from_fn_with_state(trusted, strict_transport))
        .layer(middleware::from_fn_with_state(
            stop.told.clone(),
            last_of_its_connection,
        ));

    if let Some(address) = config.board.listen {
        open_board(&tasks, address, connections.few(), door, &stop).await?;
    }
    if let Some(schedule) = parts::sweeps(&config)? {
        let keeping = sweep_images::keep(services.clone(), schedule, stop.close.clone());
        tasks.spawn(keeping);
    }
    tasks.spawn(maintenance::run(services.clone(), stop.close.clone()));
    let supervisor = services.tasks.clone();
    tasks.spawn(dispatch::run(services, None, stop.close.clone()));
    if let Some(worker) = worker {
        tasks.spawn(worker.run(stop.told.clone()));
    }
    tracing::info!(
        "the gateway listens on {}://{}",
        connections.scheme(),
        listener.local_addr()?
    );
    let serving = async {
        listener::serve(listener, connections, app, stop.close.clone()).await;
        tasks.close();
        tasks.wait().await;
        Ok(())
    };
    supervised(&supervisor, &stop, serving).await
}

/// What people open in a browser.
fn pages() -> Router {
    Router::new()
        .route("/", get(async || Redirect::temporary("/playground")))
        .merge(playground())
        .layer(SecurityHeaders::PAGES)
}

/// Clients that hold a connection open are told to make a new one, elsewhere, while the process is to stop: a request that
/// they sent as it closed would be lost.
async fn last_of_its_connection(
    State(told): State<CancellationToken>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    if told.is_cancelled() {
        let headers = response.headers_mut();
        headers
            .entry(CONNECTION)
            .or_insert(HeaderValue::from_static("close"));
    }
    response
}

/// `wharfinger worker`: only a worker, for a Docker host of a fleet.
pub(crate) async fn work(config: Config, migrate: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.redis_url.is_some(),
        "a worker of a fleet needs redis_url (REDIS_URL): without it, the queue lives in the gateway's own process, and `wharfinger serve` has a worker already"
    );
    let metrics = metrics::start(config.metrics)?;
    let for_metrics = metrics_listener(&config).await?;
    let services = parts::apart(&config, migrate).await?;
    let worker = parts::worker(&config, &services).await?;
    // No load balancer asks it anything but its readiness: it stops at once.
    let stop = signals::stop(&services.tasks, Duration::ZERO);
    metrics::keep_up(metrics.clone(), &services.tasks);
    let tasks = TaskTracker::new();
    let health = Health {
        services: services.clone(),
        engine: Some(worker.engine_answers()),
        engine_required: true,
        metrics,
        writes: WriteProbe::start(&services, &stop.close),
        told_to_stop: stop.told.clone(),
        gauges: Arc::default(),
        readiness: Arc::default(),
    };
    let connections = Connections {
        tls: None,
        patience: config.websocket.send_timeout,
        most: listener::FEW,
    };
    let metrics = place_metrics(&tasks, &health, for_metrics, &connections, &stop)?;
    if let Some(address) = config.worker.listen {
        let listener = listen(address, "worker.listen (WHARFINGER_WORKER__LISTEN)").await?;
        let app = health::router(health)
            .merge(metrics)
            .layer(SecurityHeaders::ANSWERS);
        tracing::info!("the worker reports on http://{}", listener.local_addr()?);
        let close = stop.close.clone();
        let task = services.tasks.task("listener", NeededBy::Worker);
        let serving = listener::serve(listener, connections, app, close.clone());
        tasks.spawn(task.run(close, serving));
    }
    tasks.spawn(maintenance::run(services.clone(), stop.close.clone()));
    let supervisor = services.tasks.clone();
    tasks.spawn(dispatch::run(
        services,
        Some(worker.host_id()),
        stop.close.clone(),
    ));
    let told = stop.told.clone();
    let working = async {
        worker.run(told).await;
        tasks.close();
        tasks.wait().await;
        Ok(())
    };
    supervised(&supervisor, &stop, working).await
}

/// The listener of `/metrics` alone, where it has one.
async fn metrics_listener(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    match config.metrics.listen {
        Some(address) => {
            let setting = "metrics.listen (WHARFINGER_METRICS__LISTEN)";
            listen(address, setting).await.map(Some)
        }
        None => Ok(None),
    }
}

/// Serves `/metrics` on its own listener, in plain HTTP, where it has one. Returns the routes that are left for the others.
fn place_metrics(
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
    let app = metrics.layer(SecurityHeaders::ANSWERS);
    let close = stop.close.clone();
    let task = health.services.tasks.task("metrics", NeededBy::None);
    let serving = listener::serve(listener, connections, app, close.clone());
    tasks.spawn(task.run(close, serving));
    Ok(Router::new())
}

/// Serves the board beside the gateway. The gateway does not depend on it: where something else has its port, such as
/// another gateway on this machine, it goes without.
async fn open_board(
    tasks: &TaskTracker,
    address: SocketAddr,
    connections: Connections,
    door: board::Door,
    stop: &Stop,
) -> anyhow::Result<()> {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            tracing::warn!(
                "no board: something else listens on {address}. Set board.listen (WHARFINGER_BOARD__LISTEN) to another address, or to nothing"
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
    let task = door.services.tasks.task("board", NeededBy::None);
    let app = board::router(door, close.clone());
    let serving = listener::serve(listener, connections, app, close.clone());
    tasks.spawn(task.run(close, serving));
    Ok(())
}

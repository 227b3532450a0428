//! `wharfinger serve`: the gateway and, unless `--no-worker` is given, a worker for the local engine.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::Next;
use axum::response::{Redirect, Response};
use axum::routing::get;
use axum::{Router, middleware};
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wharfinger_jobs::maintenance::write_probe::WriteProbe;
use wharfinger_jobs::services::Services;
use wharfinger_jobs::{dispatch, maintenance, sweep_images};

use super::side_listeners::{metrics_listener, open_board, place_metrics};
use crate::auth::token_authenticator::TokenAuthenticator;
use crate::config::Config;
use crate::http::{self, ANSWER_HEADERS, PAGE_HEADERS, TransportSettings, playground};
use crate::observability::health::{self, Health};
use crate::observability::metrics;
use crate::server::forwarded::strict_transport;
use crate::server::listener::{self, Connections, listen};
use crate::server::tls::Tls;
use crate::startup::signals::{self, supervised};
use crate::startup::{self, first_admin};
use crate::{board, graphql};

/// Options of `serve`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServeOptions {
    /// Whether to run a worker for the local engine.
    pub(crate) worker: bool,
    /// Whether to migrate the database.
    pub(crate) migrate: bool,
}

/// Serves until a signal to stop. Fails where a part cannot start, or a background task ends.
pub(crate) async fn serve(config: Config, options: ServeOptions) -> anyhow::Result<()> {
    let metrics = metrics::start(config.metrics)?;
    let connections = Connections {
        tls: Tls::load(&config.tls)?,
        patience: config.websocket.send_timeout,
        most: listener::most(),
    };
    let listener = listen(config.listen, "listen (WHARFINGER_LISTEN)").await?;
    let for_metrics = metrics_listener(&config).await?;
    let request_time = config.limits.request_time;
    let db = startup::database(&config, options.migrate, request_time).await?;
    let services = startup::services(&config, db).await?;
    first_admin::make(&config, &services).await?;
    let worker = if options.worker {
        Some(startup::local_worker(&config, &services).await?)
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
    let (gateway, authenticator) = endpoint(&config, &services, &stop.close)?;
    let trusted: Arc<[IpNet]> = config.trusted_proxies().into();
    let board_auth = board::BoardAuth {
        services: services.clone(),
        tokens: authenticator.tokens.clone(),
        rates: authenticator.rates.clone(),
        trusted_proxies: Arc::clone(&trusted),
    };
    let min_size = config.compression.min_size;
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
    // `limits.introspection = false` hides the schema here too.
    if config.limits.introspection {
        app = app.merge(http::tagged(
            "/schema.graphql",
            "application/graphql; charset=utf-8",
            graphql::sdl(),
            min_size,
        ));
    }
    let app = app
        .layer(ANSWER_HEADERS)
        .layer(middleware::from_fn_with_state(trusted, strict_transport))
        .layer(middleware::from_fn_with_state(
            stop.told.clone(),
            last_of_its_connection,
        ));

    if let Some(address) = config.board.listen {
        open_board(&tasks, address, connections.few(), board_auth, &stop).await?;
    }
    if let Some(schedule) = startup::sweep_schedule(&config)? {
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
    };
    supervised(&supervisor, &stop, serving).await
}

/// Returns `/graphql` over these services, which ends its sockets and streams on `close`, and its authenticator.
pub(crate) fn endpoint(
    config: &Config,
    services: &Services,
    close: &CancellationToken,
) -> anyhow::Result<(Router, TokenAuthenticator)> {
    let requests = services.for_requests();
    let schema = graphql::schema(requests.clone());
    let authenticator = TokenAuthenticator::new(requests, config.trusted_proxies(), schema.rules());
    let transport = TransportSettings {
        trusted: startup::trusted_documents(config)?,
        ..config.transport()
    };
    let router = http::router(schema, authenticator.clone(), transport, close.clone());
    let router = http::compress(router, config.compression.min_size);
    Ok((router, authenticator))
}

/// Returns the pages that people open in a browser.
fn pages() -> Router {
    Router::new()
        .route("/", get(async || Redirect::temporary("/playground")))
        .merge(playground())
        .layer(PAGE_HEADERS)
}

/// While the process is stopping, tells clients to close their connections, so that they open new ones elsewhere. A request
/// that they send as the process closes the connection would be lost.
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

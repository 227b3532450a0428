//! `wharfinger worker`: a worker for a Docker host of a fleet.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;
use wharfinger_jobs::infra::tasks::NeededBy;
use wharfinger_jobs::maintenance::write_probe::WriteProbe;
use wharfinger_jobs::{dispatch, maintenance};

use super::side_listeners::{metrics_listener, place_metrics};
use crate::config::Config;
use crate::http::ANSWER_HEADERS;
use crate::observability::health::{self, Health};
use crate::observability::metrics;
use crate::server::listener::{self, Connections, listen};
use crate::startup;
use crate::startup::signals::{self, supervised};

/// Runs until a signal to stop. Fails where a part cannot start, or a background task ends.
pub(crate) async fn run(config: Config, migrate: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.redis_url.is_some(),
        "a worker of a fleet needs redis_url (REDIS_URL): without it, the queue lives in the gateway's own process, and `wharfinger serve` has a worker already"
    );
    let metrics = metrics::start(config.metrics)?;
    let for_metrics = metrics_listener(&config).await?;
    let db = startup::database(&config, migrate, Duration::ZERO).await?;
    let services = startup::services(&config, db).await?;
    let worker = startup::local_worker(&config, &services).await?;
    // It serves no requests that a load balancer would have to send elsewhere first.
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
        let app = health::router(health).merge(metrics).layer(ANSWER_HEADERS);
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
    };
    supervised(&supervisor, &stop, working).await
}

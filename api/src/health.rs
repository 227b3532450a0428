//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use wharfinger_jobs::services::Services;

use crate::measure::Gauges;

/// How long a part may take to answer before it is reported as silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a process reports on.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) services: Services,
    /// Whether the local engine answers, where there is a worker.
    pub(crate) engine: Option<watch::Receiver<bool>>,
    /// Whether a silent engine makes the process unready: it does a worker, not a gateway, which can still accept.
    pub(crate) engine_required: bool,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) gauges: Arc<Gauges>,
}

/// The routes.
pub(crate) fn router(health: Health) -> Router {
    let scraped = health.clone();
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(move || readyz(health.clone())))
        .route("/metrics", get(move || metrics(scraped.clone())))
}

async fn metrics(health: Health) -> impl IntoResponse {
    let gauges = &health.gauges;
    gauges.look(&health.services, health.engine.as_ref()).await;
    (
        [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
        health.metrics.render(),
    )
}

async fn readyz(health: Health) -> Response {
    let database = health
        .services
        .ready()
        .await
        .map_err(|error| error.to_string());
    let queue = tokio::time::timeout(PATIENCE, health.services.queue.health())
        .await
        .map_or_else(
            |_| Err("does not answer".to_owned()),
            |health| health.map_err(|error| error.to_string()),
        );
    let engine = health.engine.as_ref().map(|answers| {
        if *answers.borrow() {
            Ok(())
        } else {
            Err("does not answer".to_owned())
        }
    });
    let ready =
        database.is_ok() && (!health.engine_required || engine.as_ref().is_none_or(Result::is_ok));
    let mut body = Map::new();
    body.insert("ready".into(), json!(ready));
    body.insert("database".into(), report(&database));
    body.insert("queue".into(), report(&queue));
    if let Some(engine) = &engine {
        body.insert("engine".into(), report(engine));
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Value::Object(body))).into_response()
}

fn report(part: &Result<(), String>) -> Value {
    match part {
        Ok(()) => json!("ok"),
        Err(error) => json!(error),
    }
}

//! `/healthz`, `/readyz` and `/metrics`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Map, Value, json};
use tokio::sync::{Mutex, watch};
use wharfinger_jobs::queue::QueueError;
use wharfinger_jobs::services::Services;

use crate::measure::Gauges;

/// How long a part may take to answer before it is reported as silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer of `/readyz` is given to whoever asks next: nobody's questions are to keep the parts busy.
const FRESH: Duration = Duration::from_millis(250);

/// What `/readyz` answers.
type Readiness = (StatusCode, Map<String, Value>);

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
    pub(crate) readiness: Arc<Mutex<Option<(Instant, Readiness)>>>,
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
    // Held while the parts are asked: whoever comes meanwhile waits for the same answer.
    let mut last = health.readiness.lock().await;
    let (status, body) = match &*last {
        Some((at, readiness)) if at.elapsed() < FRESH => readiness.clone(),
        _ => {
            let known = last.as_ref().map(|(_, (_, body))| body);
            let readiness = look(&health, known).await;
            *last = Some((Instant::now(), readiness.clone()));
            readiness
        }
    };
    (status, Json(body)).into_response()
}

/// Asks the parts. `known` is what was said of them the last time.
async fn look(health: &Health, known: Option<&Map<String, Value>>) -> Readiness {
    let database = report("database", known, health.services.ready().await);
    let queue = tokio::time::timeout(PATIENCE, health.services.queue.health());
    let queue = queue.await.unwrap_or(Err(QueueError::Timeout));
    let queue = report("queue", known, queue);
    let engine = health.engine.as_ref();
    let engine = engine.map(|answers| if *answers.borrow() { OK } else { SILENT });
    let ready = database == OK && !(health.engine_required && engine == Some(SILENT));
    let mut body = Map::new();
    body.insert("ready".into(), json!(ready));
    body.insert("database".into(), json!(database));
    body.insert("queue".into(), json!(queue));
    if let Some(engine) = engine {
        body.insert("engine".into(), json!(engine));
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, body)
}

const OK: &str = "ok";
const SILENT: &str = "does not answer";

/// What is said of a part. The reason can name addresses and accounts, and is for the log alone, once.
fn report(
    part: &str,
    known: Option<&Map<String, Value>>,
    answer: Result<(), impl Display>,
) -> &'static str {
    let Err(error) = answer else {
        return OK;
    };
    if known.is_none_or(|known| known[part] != SILENT) {
        tracing::warn!(part, %error, "not ready");
    }
    SILENT
}

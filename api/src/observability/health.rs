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
use tokio_util::sync::CancellationToken;
use wharfinger_jobs::infra::tasks::NeededBy;
use wharfinger_jobs::maintenance::write_probe::WriteProbe;
use wharfinger_jobs::queue::QueueError;
use wharfinger_jobs::services::Services;

use crate::observability::metrics::Gauges;

/// How long a part may take to answer before it is reported as silent.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer of `/readyz` is reused, so that frequent requests do not load the parts.
const FRESH: Duration = Duration::from_millis(250);

/// The answer of `/readyz`.
type Readiness = (StatusCode, Map<String, Value>);

/// The parts of a process that are reported on.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) services: Services,
    /// Whether the local engine answers; `None` without a worker.
    pub(crate) engine: Option<watch::Receiver<bool>>,
    /// Whether a silent engine makes the process unready: that of a worker does, but a gateway can still accept jobs.
    pub(crate) engine_required: bool,
    pub(crate) metrics: PrometheusHandle,
    /// Whether the database takes writes.
    pub(crate) writes: WriteProbe,
    /// Cancelled when the process is told to stop. It is not ready from then on.
    pub(crate) told_to_stop: CancellationToken,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) readiness: Arc<Mutex<Option<(Instant, Readiness)>>>,
}

/// Returns the routes `/healthz` and `/readyz`.
pub(crate) fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(move || readyz(health.clone())))
}

/// Returns the route `/metrics`.
pub(crate) fn metrics(health: Health) -> Router {
    Router::new().route("/metrics", get(move || scrape(health.clone())))
}

async fn scrape(health: Health) -> impl IntoResponse {
    let gauges = &health.gauges;
    gauges.look(&health.services, health.engine.as_ref()).await;
    (
        [("content-type", "text/plain; version=0.0.4; charset=utf-8")],
        health.metrics.render(),
    )
}

async fn readyz(health: Health) -> Response {
    // Held while the parts are asked, so that concurrent requests share one answer.
    let mut last = health.readiness.lock().await;
    let (status, body) = match &*last {
        Some((at, readiness)) if at.elapsed() < FRESH && is_current(&health, readiness) => {
            readiness.clone()
        }
        _ => {
            let known = last.as_ref().map(|(_, (_, body))| body);
            let readiness = look(&health, known).await;
            *last = Some((Instant::now(), readiness.clone()));
            readiness
        }
    };
    (status, Json(body)).into_response()
}

/// Returns whether an answer may be reused. One from before the process was told to stop may not.
fn is_current(health: &Health, (_, body): &Readiness) -> bool {
    !health.told_to_stop.is_cancelled() || body.contains_key(SHUTDOWN)
}

/// Asks the parts. `known` is the last answer: a trouble that it has is not logged again.
async fn look(health: &Health, known: Option<&Map<String, Value>>) -> Readiness {
    let mut report = Report {
        known,
        body: Map::new(),
        ready: true,
    };
    if health.told_to_stop.is_cancelled() {
        report.tell(SHUTDOWN, Err("under way".into()), true);
    }
    report.tell("database", database(health).await, true);
    let queue = tokio::time::timeout(PATIENCE, health.services.queue.health());
    let queue = queue.await.unwrap_or(Err(QueueError::Timeout));
    report.tell("queue", queue.map_err(silent), false);
    if let Some(answers) = &health.engine {
        let answer = answers.borrow().then_some(()).ok_or(SILENT.into());
        report.tell("engine", answer, health.engine_required);
    }
    for task in health.services.tasks.reports() {
        let needed = match task.needed_by {
            NeededBy::All => true,
            NeededBy::Worker => health.engine_required,
            NeededBy::None => false,
        };
        let answer = task.trouble.map_or(Ok(()), |why| Err(why.into()));
        report.tell(task.task, answer, needed);
    }
    let (mut body, ready) = (report.body, report.ready);
    body.insert("ready".into(), json!(ready));
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, body)
}

async fn database(health: &Health) -> Result<(), Trouble> {
    health.services.ready().await.map_err(silent)?;
    health.writes.result().await.map_err(|error| Trouble {
        said: "does not take writes".into(),
        why: Some(error),
    })
}

const OK: &str = "ok";
const SILENT: &str = "does not answer";
const SHUTDOWN: &str = "shutdown";

/// The trouble of a part.
struct Trouble {
    /// For the answer of `/readyz`.
    said: String,
    /// For the log alone, because it may name addresses and accounts.
    why: Option<String>,
}

impl<T: Into<String>> From<T> for Trouble {
    fn from(said: T) -> Self {
        Self {
            said: said.into(),
            why: None,
        }
    }
}

fn silent(error: impl Display) -> Trouble {
    Trouble {
        said: SILENT.into(),
        why: Some(error.to_string()),
    }
}

/// The answer of `/readyz`, as far as the parts were asked.
struct Report<'a> {
    known: Option<&'a Map<String, Value>>,
    body: Map<String, Value>,
    ready: bool,
}

impl Report<'_> {
    /// Adds a part to the answer, and logs a new trouble. With `needed`, a trouble makes the process unready.
    fn tell(&mut self, part: &str, answer: Result<(), Trouble>, needed: bool) {
        let said = match answer {
            Ok(()) => OK.to_owned(),
            Err(Trouble { said, why }) => {
                self.ready &= !needed;
                let known = self.known.and_then(|known| known.get(part));
                if known.is_none_or(|known| known == OK) {
                    let error = why.as_ref().unwrap_or(&said);
                    tracing::warn!(part, error, "not ready");
                }
                said
            }
        };
        self.body.insert(part.into(), json!(said));
    }
}

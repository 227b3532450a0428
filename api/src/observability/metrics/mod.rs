//! Request metrics, and how all metrics are described in `/metrics`.
//!
//! Requests are counted here, jobs in `wharfinger_jobs::infra::metrics`. `gauges` reads current values when a scrape asks
//! for them.

mod gauges;
mod labels;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_graphql::EnumType as _;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use wharfinger_entity::{JobKind, job};
use wharfinger_jobs::error::ServiceError;
use wharfinger_jobs::infra::metrics::{JOB_BUCKETS, PHASE_BUCKETS};
use wharfinger_jobs::infra::tasks::{NeededBy, Tasks};

pub(crate) use gauges::{Gauges, Open};
use labels::Labels;

use crate::observability::settings::MetricSettings;

/// Upper bounds of the buckets of response times, in seconds.
const ANSWER_BUCKETS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How often the samples of histograms are sorted into their buckets. Without scrapes they would be kept for ever.
const UPKEEP: Duration = Duration::from_secs(5);

/// The labels of requests besides operation and status.
static LABELS: OnceLock<Labels> = OnceLock::new();

/// Installs the recorder. Must be called once, inside the runtime. Fails where there is one already.
pub(crate) fn start(settings: MetricSettings) -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in [
        ("image_response_duration_seconds", &ANSWER_BUCKETS[..]),
        ("wharfinger_pull_phase_seconds", &PHASE_BUCKETS),
        ("wharfinger_job_duration_seconds", &JOB_BUCKETS),
    ] {
        let name = Matcher::Full(name.into());
        builder = builder.set_buckets_for_metric(name, buckets)?;
    }
    let handle = builder.install_recorder();
    let handle = handle.context("cannot record metrics")?;
    // The only recorder of the process, or the line above had failed.
    let _ = LABELS.set(Labels::new(settings));
    describe();
    wharfinger_jobs::infra::metrics::describe();
    gauges::describe();
    Ok(handle)
}

/// Sorts the samples of histograms into their buckets, for as long as the process runs.
pub(crate) fn keep_up(metrics: PrometheusHandle, tasks: &Tasks) {
    let task = tasks.task("metrics", NeededBy::None);
    tokio::spawn(task.until(CancellationToken::new(), async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            metrics.run_upkeep();
        }
    }));
}

fn describe() {
    metrics::describe_counter!(
        "image_request_total",
        "Requests about images, by operation and status"
    );
    metrics::describe_counter!(
        "image_errors_total",
        "Requests about images that were not accepted, by operation and status"
    );
    metrics::describe_histogram!(
        "image_response_duration_seconds",
        "Time to the answer to a request about images, by operation and status"
    );
    metrics::describe_gauge!(
        "wharfinger_build_info",
        "1, with the version of the program"
    );
    gauge!("wharfinger_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    // Set to zero, so that the first error is an increase. With labels of users the possible values are not known.
    if LABELS.get().is_some_and(|labels| !labels.any()) {
        let kinds = JobKind::items().iter().map(|kind| kind.value.name());
        for operation in kinds.chain(["cancel_job", "retry_job"]) {
            for status in ["accepted", "rejected", "failed"] {
                count(operation, status, None, None, 0);
            }
        }
    }
}

/// Counts a user's request about an image, which a job carries out, and measures the time to its answer.
pub(crate) async fn request(
    operation: &'static str,
    user: &str,
    answer: impl Future<Output = Result<job::Model, ServiceError>>,
) -> Result<job::Model, ServiceError> {
    let began = Instant::now();
    let answer = answer.await;
    let status = match &answer {
        Ok(_) => "accepted",
        Err(ServiceError::Rejected(_)) => "rejected",
        Err(_) => "failed",
    };
    let image = answer.as_ref().ok().map(|job| job.reference.as_str());
    let labels = count(operation, status, Some(user), image, 1);
    histogram!("image_response_duration_seconds", labels).record(began.elapsed().as_secs_f64());
    answer
}

/// Counts a request. Returns its labels.
fn count(
    operation: &'static str,
    status: &'static str,
    user: Option<&str>,
    image: Option<&str>,
    by: u64,
) -> Vec<metrics::Label> {
    let mut labels = vec![
        metrics::Label::from_static_parts("operation", operation),
        metrics::Label::from_static_parts("status", status),
    ];
    if let Some(allowed) = LABELS.get() {
        allowed.add(&mut labels, user, image);
    }
    counter!("image_request_total", labels.clone()).increment(by);
    if status != "accepted" {
        counter!("image_errors_total", labels.clone()).increment(by);
    }
    labels
}

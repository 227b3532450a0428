//! What is counted, and how it is called in `/metrics`.

use std::future::Future;
use std::time::Instant;

use anyhow::Context as _;
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use wharfinger_jobs::error::ServiceError;
use wharfinger_jobs::queries::queues;
use wharfinger_jobs::services::Services;

/// Upper bounds of the histograms' buckets, in seconds: an answer takes milliseconds, a pull minutes.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0,
];

/// Starts counting.
pub(crate) fn start() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("cannot record metrics")?;
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
        "Time to the answer to a request about images"
    );
    metrics::describe_gauge!(
        "wharfinger_queue_jobs",
        "Jobs that have not ended, by host and state"
    );
    metrics::describe_gauge!(
        "wharfinger_queue_oldest_seconds",
        "Age of the oldest job that waits, by host"
    );
    metrics::describe_gauge!(
        "wharfinger_live_subscribers",
        "Streams of live events in this process"
    );
    Ok(handle)
}

/// Counts one request about images, and times its answer.
pub(crate) async fn request<T>(
    operation: &'static str,
    answer: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    let began = Instant::now();
    let answer = answer.await;
    let status = match &answer {
        Ok(_) => "accepted",
        Err(ServiceError::Rejected(_)) => "rejected",
        Err(_) => "failed",
    };
    counter!("image_request_total", "operation" => operation, "status" => status).increment(1);
    if status != "accepted" {
        counter!("image_errors_total", "operation" => operation, "status" => status).increment(1);
    }
    histogram!("image_response_duration_seconds", "operation" => operation, "status" => status)
        .record(began.elapsed().as_secs_f64());
    answer
}

/// Brings the gauges up to date, for a scrape. What cannot be read now keeps its last value.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating-point numbers"
)]
pub(crate) async fn look(services: &Services) {
    gauge!("wharfinger_live_subscribers").set(services.events.subscribers() as f64);
    let now = services.clock.now();
    match queues::depths(&services.db, now).await {
        Ok(depths) => {
            for depth in depths {
                let host = depth.host;
                gauge!("wharfinger_queue_jobs", "host" => host.clone(), "state" => "queued")
                    .set(depth.queued as f64);
                gauge!("wharfinger_queue_jobs", "host" => host.clone(), "state" => "running")
                    .set(depth.running as f64);
                gauge!("wharfinger_queue_jobs", "host" => host.clone(), "state" => "retrying")
                    .set(depth.retrying as f64);
                gauge!("wharfinger_queue_jobs", "host" => host.clone(), "state" => "dead")
                    .set(depth.dead as f64);
                let age = depth.oldest_queued.map_or(0.0, |age| age.as_secs_f64());
                gauge!("wharfinger_queue_oldest_seconds", "host" => host).set(age);
            }
        }
        Err(error) => tracing::warn!(%error, "could not look at the queues for a scrape"),
    }
}

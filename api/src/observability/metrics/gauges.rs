//! Gauges that are read when a scrape asks for them: queues, pools, Redis, the engine, watchers. The database and Redis are
//! asked every few seconds at most, however frequent scrapes are.

#![expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating-point numbers"
)]

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use wharfinger_jobs::infra::db::DbErr;
use wharfinger_jobs::queries::queues::{self, QueueDepth};
use wharfinger_jobs::queue::JobQueue;
use wharfinger_jobs::services::Services;

use crate::observability::telemetry;

/// How long values from the database and Redis are reused.
const FRESH: Duration = Duration::from_secs(5);

/// How long a scrape waits for the database and for Redis. Values that do not come in time stay as they were.
const PATIENCE: Duration = Duration::from_secs(2);

/// Each gauge in `/metrics`, and what it shows.
const GAUGES: [(&str, &str); 14] = [
    (
        "wharfinger_queue_jobs",
        "Jobs that have not ended, by host and state; the same from every process",
    ),
    (
        "wharfinger_queue_oldest_seconds",
        "Time since the acceptance of the oldest job that has not ended, by host and state; 0 where there is none",
    ),
    (
        "wharfinger_dead_letters",
        "Dead jobs that were not discarded, by host; the same from every process",
    ),
    (
        "wharfinger_live_subscribers",
        "Streams of live events in this process, its own included",
    ),
    (
        "wharfinger_websocket_connections",
        "WebSockets that were let in and are open",
    ),
    (
        "wharfinger_websocket_operations",
        "GraphQL operations that run on WebSockets",
    ),
    (
        "wharfinger_sse_streams",
        "Answers that are sent as server-sent events and have not ended",
    ),
    (
        "wharfinger_shared_executions",
        "Subscriptions that run once for all who are told the same",
    ),
    (
        "wharfinger_database_connections",
        "Connections to the database, by pool and state (in_use, idle)",
    ),
    (
        "wharfinger_database_connections_max",
        "Connections to the database that may be open, by pool",
    ),
    (
        "wharfinger_database_up",
        "Whether the database answered when it was last asked (1 or 0)",
    ),
    (
        "wharfinger_redis_up",
        "Whether Redis answered when it was last asked (1 or 0); none where the queue is in this process",
    ),
    (
        "wharfinger_engine_up",
        "Whether this worker's Docker engine answered when it was last asked (1 or 0)",
    ),
    (
        "wharfinger_clock_skew_seconds",
        "How far this machine's clock is behind the database's; negative where it is ahead",
    ),
];

/// Describes the gauges in `/metrics`, and sets those that count to 0.
pub(crate) fn describe() {
    for (name, description) in GAUGES {
        describe_gauge!(name, description);
    }
    describe_counter!(
        "wharfinger_log_lines_dropped_total",
        "Lines that did not get into a log file because the disk was too slow or full"
    );
    for name in [
        "wharfinger_websocket_connections",
        "wharfinger_websocket_operations",
        "wharfinger_sse_streams",
        "wharfinger_shared_executions",
    ] {
        gauge!(name).set(0.0);
    }
}

/// The time at which the database and Redis were last asked.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    asked: Mutex<Option<Instant>>,
}

impl Gauges {
    /// Updates the gauges. Those that cannot be read now keep their values.
    pub(crate) async fn look(&self, services: &Services, engine: Option<&watch::Receiver<bool>>) {
        at_hand(services, engine);
        // Concurrent scrapes wait for the first one.
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|asked| asked.elapsed() < FRESH) {
            return;
        }
        tokio::join!(look_at_queues(services), look_at_redis(services));
        *asked = Some(Instant::now());
    }
}

fn at_hand(services: &Services, engine: Option<&watch::Receiver<bool>>) {
    gauge!("wharfinger_live_subscribers").set(services.events.subscribers() as f64);
    for pool in services.db.pools() {
        let connections = |state| gauge!("wharfinger_database_connections", "pool" => pool.pool, "state" => state);
        connections("idle").set(pool.idle);
        connections("in_use").set(pool.open.saturating_sub(pool.idle));
        gauge!("wharfinger_database_connections_max", "pool" => pool.pool).set(pool.most);
    }
    if let Some(answers) = engine {
        gauge!("wharfinger_engine_up").set(f64::from(*answers.borrow()));
    }
    if let Some(dropped) = telemetry::dropped_lines() {
        counter!("wharfinger_log_lines_dropped_total").absolute(dropped as u64);
    }
}

async fn look_at_redis(services: &Services) {
    if matches!(services.queue, JobQueue::Redis(_)) {
        let health = timeout(PATIENCE, services.queue.health()).await;
        gauge!("wharfinger_redis_up").set(f64::from(matches!(health, Ok(Ok(())))));
    }
}

async fn look_at_queues(services: &Services) {
    let reading = queues::depths(&services.db, services.clock.now());
    let depths = timeout(PATIENCE, reading)
        .await
        .unwrap_or_else(|_| Err(DbErr::Custom("the database did not answer in time".into())));
    gauge!("wharfinger_database_up").set(f64::from(depths.is_ok()));
    match depths {
        Ok(depths) => depths.iter().for_each(show),
        Err(error) => tracing::warn!(%error, "could not look at the queues for a scrape"),
    }
}

fn show(depth: &QueueDepth) {
    let host = &depth.host;
    for (state, jobs, oldest) in [
        ("queued", depth.queued, depth.oldest_queued),
        ("running", depth.running, depth.oldest_running),
        ("retrying", depth.retrying, depth.oldest_retrying),
    ] {
        let oldest = oldest.map_or(0.0, |age| age.as_secs_f64());
        gauge!("wharfinger_queue_jobs", "host" => host.clone(), "state" => state).set(jobs as f64);
        gauge!("wharfinger_queue_oldest_seconds", "host" => host.clone(), "state" => state)
            .set(oldest);
    }
    gauge!("wharfinger_dead_letters", "host" => host.clone()).set(depth.dead as f64);
}

/// Counts an open thing in a gauge, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open(&'static str);

impl Open {
    /// Adds one to the gauge.
    pub(crate) fn new(gauge: &'static str) -> Self {
        gauge!(gauge).increment(1.0);
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}

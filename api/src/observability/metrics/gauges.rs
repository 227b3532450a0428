//! Gauges that are read when a scrape asks for them: queues, pools, Redis, the engine, watchers. The database and Redis are
//! asked every few seconds at most, however frequent scrapes are.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
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

/// Describes each gauge in `/metrics`.
pub(crate) fn describe() {
    describe_gauge!(
        "wharfinger_queue_jobs",
        Unit::Count,
        "Jobs that have not ended, by host and state; the same from every process"
    );
    describe_gauge!(
        "wharfinger_queue_oldest_seconds",
        Unit::Seconds,
        "Time since the acceptance of the oldest job that has not ended, by host and state; 0 where there is none"
    );
    describe_gauge!(
        "wharfinger_dead_letters",
        Unit::Count,
        "Dead jobs that were not discarded, by host; the same from every process"
    );
    describe_gauge!(
        "wharfinger_live_subscribers",
        Unit::Count,
        "Streams of live events in this process, its own included"
    );
    describe_gauge!(
        "wharfinger_websocket_connections",
        Unit::Count,
        "WebSockets that were let in and are open"
    );
    describe_gauge!(
        "wharfinger_websocket_operations",
        Unit::Count,
        "GraphQL operations that run on WebSockets"
    );
    describe_gauge!(
        "wharfinger_sse_streams",
        Unit::Count,
        "Answers that are sent as server-sent events and have not ended"
    );
    describe_gauge!(
        "wharfinger_shared_executions",
        Unit::Count,
        "Subscriptions that run once for all who are told the same"
    );
    describe_gauge!(
        "wharfinger_database_connections",
        Unit::Count,
        "Connections to the database, by pool and state (in_use, idle)"
    );
    describe_gauge!(
        "wharfinger_database_connections_max",
        Unit::Count,
        "Connections to the database that may be open, by pool"
    );
    describe_gauge!(
        "wharfinger_database_up",
        "Whether the database answered when it was last asked (1 or 0)"
    );
    describe_gauge!(
        "wharfinger_redis_up",
        "Whether Redis answered when it was last asked (1 or 0); none where the queue is in this process"
    );
    describe_gauge!(
        "wharfinger_engine_up",
        "Whether this worker's Docker engine answered when it was last asked (1 or 0)"
    );
    describe_gauge!(
        "wharfinger_clock_skew_seconds",
        Unit::Seconds,
        "How far this machine's clock is behind the database's; negative where it is ahead"
    );
    describe_counter!(
        "wharfinger_log_lines_dropped_total",
        Unit::Count,
        "Lines that did not get into a log file because the disk was too slow or full"
    );
    gauge!("wharfinger_websocket_connections").set(0.0);
    gauge!("wharfinger_websocket_operations").set(0.0);
    gauge!("wharfinger_sse_streams").set(0.0);
    gauge!("wharfinger_shared_executions").set(0.0);
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

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating-point numbers"
)]
fn at_hand(services: &Services, engine: Option<&watch::Receiver<bool>>) {
    gauge!("wharfinger_live_subscribers").set(services.events.subscribers() as f64);
    for pool in services.db.pools() {
        let connections = |state| gauge!("wharfinger_database_connections", "pool" => pool.pool, "state" => state);
        connections("idle").set(pool.idle);
        connections("in_use").set(pool.open.saturating_sub(pool.idle));
        gauge!("wharfinger_database_connections_max", "pool" => pool.pool).set(pool.most);
    }
    if let Some(answers) = engine {
        gauge!("wharfinger_engine_up").set(up(*answers.borrow()));
    }
    if let Some(dropped) = telemetry::dropped_lines() {
        counter!("wharfinger_log_lines_dropped_total").absolute(dropped as u64);
    }
}

async fn look_at_redis(services: &Services) {
    if matches!(services.queue, JobQueue::Redis(_)) {
        let health = timeout(PATIENCE, services.queue.health()).await;
        gauge!("wharfinger_redis_up").set(up(matches!(health, Ok(Ok(())))));
    }
}

async fn look_at_queues(services: &Services) {
    let reading = queues::depths(&services.db, services.clock.now());
    let depths = timeout(PATIENCE, reading)
        .await
        .unwrap_or_else(|_| Err(DbErr::Custom("the database did not answer in time".into())));
    gauge!("wharfinger_database_up").set(up(depths.is_ok()));
    match depths {
        Ok(depths) => depths.iter().for_each(show),
        Err(error) => tracing::warn!(%error, "could not look at the queues for a scrape"),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating-point numbers"
)]
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

fn up(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
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

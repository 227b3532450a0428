//! A queue.

use async_graphql::{Context, Object, Result};
use wharfinger_jobs::queries::queues::QueueDepth;

use super::Host;
use crate::graphql::context::{internal, loaders};
use crate::graphql::loaders::HostId;

/// The jobs of a host, as administrators see them.
#[derive(Clone)]
pub(crate) struct Queue(QueueDepth);

impl From<QueueDepth> for Queue {
    fn from(depth: QueueDepth) -> Self {
        Self(depth)
    }
}

/// Converts to GraphQL's `Int`, which has 32 bits; larger counts are cut.
fn int(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The jobs of a host, as administrators see them.
#[Object]
impl Queue {
    /// The name of its host.
    async fn name(&self) -> &str {
        &self.0.host
    }

    /// The host whose jobs they are; null if it is gone.
    async fn host(&self, ctx: &Context<'_>) -> Result<Option<Host>> {
        let host = loaders(ctx)?
            .load_one(HostId(self.0.host_id))
            .await
            .map_err(|error| internal(&*error))?;
        Ok(host.map(Host::from))
    }

    /// Whether its jobs are kept from starting. Running jobs continue, and new jobs are accepted and wait.
    async fn paused(&self) -> bool {
        self.0.paused
    }

    /// Jobs that wait for their first attempt.
    async fn queued(&self) -> i32 {
        int(self.0.queued)
    }

    /// Jobs that a worker runs.
    async fn running(&self) -> i32 {
        int(self.0.running)
    }

    /// Jobs that wait for another attempt.
    async fn retrying(&self) -> i32 {
        int(self.0.retrying)
    }

    /// Dead letters that no administrator has discarded.
    async fn dead(&self) -> i32 {
        int(self.0.dead)
    }

    /// Seconds since the oldest job that waits for its first attempt was accepted; null when none waits.
    async fn oldest_queued_seconds(&self) -> Option<f64> {
        self.0.oldest_queued.map(|age| age.as_secs_f64())
    }
}

//! A queue.

use async_graphql::{ComplexObject, Context, Result, SimpleObject};
use uuid::Uuid;
use wharfinger_jobs::queries::queues::QueueDepth;

use super::Host;
use crate::graphql::context::load;
use crate::graphql::loaders::HostId;
use crate::graphql::scalars::int;

/// The jobs of a host, as administrators see them.
#[derive(SimpleObject, Clone)]
#[graphql(complex)]
pub(crate) struct Queue {
    /// The name of its host.
    name: String,
    #[graphql(skip)]
    host_id: Uuid,
    /// Whether its jobs are kept from starting. Running jobs continue, and new jobs are accepted and wait.
    paused: bool,
    /// Jobs that wait for their first attempt.
    queued: i32,
    /// Jobs that a worker runs.
    running: i32,
    /// Jobs that wait for another attempt.
    retrying: i32,
    /// Dead letters that no administrator has discarded.
    dead: i32,
    /// Seconds since the oldest job that waits for its first attempt was accepted; null when none waits.
    oldest_queued_seconds: Option<f64>,
}

impl From<QueueDepth> for Queue {
    fn from(depth: QueueDepth) -> Self {
        Self {
            name: depth.host,
            host_id: depth.host_id,
            paused: depth.paused,
            queued: int(depth.queued),
            running: int(depth.running),
            retrying: int(depth.retrying),
            dead: int(depth.dead),
            oldest_queued_seconds: depth.oldest_queued.map(|age| age.as_secs_f64()),
        }
    }
}

#[ComplexObject]
impl Queue {
    /// The host whose jobs they are; null if it is gone.
    async fn host(&self, ctx: &Context<'_>) -> Result<Option<Host>> {
        load(ctx, Some(HostId(self.host_id))).await
    }
}

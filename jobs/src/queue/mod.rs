//! How work reaches a worker at once.
//!
//! The database's job table is the truth. A queue carries only a pointer, [`Dispatch`], from the
//! dispatcher to a worker of the job's host; the worker then claims the job in the database, with a
//! fencing attempt number. So the queue may lose messages (the dispatcher asks [`JobQueue::holds`] and
//! pushes again what is gone) and may deliver one twice (the second claim finds nothing to do).
//!
//! One seam over apalis, two implementations: [`MemoryQueue`] in this process (embedded) and
//! [`RedisQueue`] (fleet). Queues are named after their host. Neither retries: the retry policy is the
//! project's own, kept in the database.

mod memory;
mod pool;
mod prompt;
mod redis;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::memory::MemoryQueue;
pub use self::redis::RedisQueue;

/// A pointer to a job in the database, small enough to be pushed any number of times.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Dispatch {
    /// The job to claim.
    pub job_id: Uuid,
    /// How many attempts it has had, for the lines of the log.
    #[serde(default)]
    pub attempt: i32,
    /// W3C trace context of the request that was accepted, so that one trace spans request and work.
    pub traceparent: Option<String>,
}

/// Why the queue could not be reached. The job itself is safe in the database; try again later.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Redis refused or failed.
    #[error("the queue's Redis failed")]
    Redis(#[from] ::redis::RedisError),
    /// apalis could not use Redis, or found something there that is not its own.
    #[error("the queue's storage failed")]
    Storage(#[from] apalis_redis::Error),
    /// A message could not be written as JSON.
    #[error("a queue message could not be encoded")]
    Encode(#[from] serde_json::Error),
    /// No answer within the deadline.
    #[error("the queue did not answer in time")]
    Timeout,
}

/// The queue of every host, in this process or in Redis. Cheap to clone.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a process has one, and its clones are few"
)]
pub enum JobQueue {
    /// In this process; gone with it.
    Memory(MemoryQueue),
    /// In Redis or Valkey, shared by every process of the fleet.
    Redis(RedisQueue),
}

impl JobQueue {
    /// Hands `dispatch` to the workers of `host` and wakes an idle one at once. Answers within 2 seconds,
    /// with an error when Redis is away. A job that the queue still holds is not added a second time.
    pub async fn push(&self, host: &str, dispatch: &Dispatch) -> Result<(), QueueError> {
        match self {
            Self::Memory(queue) => {
                queue.push(host, dispatch);
                Ok(())
            }
            Self::Redis(queue) => queue.push(host, dispatch).await,
        }
    }

    /// Of `job_ids`, those that the queue of `host` still has: waiting, or handed to a worker whose
    /// handler has not returned. What is missing was lost, or ended.
    pub async fn holds(&self, host: &str, job_ids: &[Uuid]) -> Result<HashSet<Uuid>, QueueError> {
        match self {
            Self::Memory(queue) => Ok(queue.holds(host, job_ids)),
            Self::Redis(queue) => queue.holds(host, job_ids).await,
        }
    }

    /// Runs a worker for the queue of `host` until `stop` is cancelled: at most `concurrency` handlers at a
    /// time, and never a message taken ahead of a free one. After `stop` it takes nothing more and returns
    /// when the running handlers have returned.
    ///
    /// A handler that returns has dealt with its message; one that panics too, and the panic is logged. Handlers
    /// run as tasks of their own: an error of Redis restarts the apalis worker, with back-off, and leaves them
    /// alone. Dropping the returned future drops the running handlers, as the end of the process would.
    pub async fn run<H, F>(
        &self,
        host: &str,
        worker: &str,
        concurrency: usize,
        handler: H,
        stop: CancellationToken,
    ) -> Result<(), QueueError>
    where
        H: Fn(Dispatch) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        match self {
            Self::Memory(queue) => queue.run(host, worker, concurrency, handler, stop).await,
            Self::Redis(queue) => queue.run(host, worker, concurrency, handler, stop).await,
        }
    }

    /// Takes a worker that is gone off the queue of `host`, by the name that it had in [`Self::run`]: what it was given goes to
    /// the others at once, not after missed heartbeats. Returns how many messages.
    pub async fn retire(&self, host: &str, worker: &str) -> Result<u32, QueueError> {
        match self {
            Self::Memory(_) => Ok(0),
            Self::Redis(queue) => queue.retire_all(host, worker).await,
        }
    }

    /// Forgets messages that were dealt with. A running worker does it every few seconds by itself. Returns their number.
    pub async fn vacuum(&self, host: &str) -> Result<usize, QueueError> {
        match self {
            Self::Memory(_) => Ok(0),
            Self::Redis(queue) => queue.vacuum(host).await,
        }
    }

    /// Whether the queue answers.
    pub async fn health(&self) -> Result<(), QueueError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redis(queue) => queue.health().await,
        }
    }
}

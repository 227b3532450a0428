//! How work reaches a worker at once.
//!
//! The database's job table is the truth, and a message is a hint: a [`Dispatch`] points to a job, and the worker claims the
//! job in the database before it does anything. A message may be lost, late or doubled. The claim takes a
//! job once for each attempt, and refuses messages of earlier attempts; a job that no worker has claimed in time is pushed
//! again. So a worker takes its message off the queue before it works: what is lost with it is
//! pushed again.
//!
//! One seam over apalis, two implementations: [`MemoryQueue`] in this process (embedded) and
//! [`RedisQueue`] (fleet). Queues are named after their host. Neither retries: the retry policy is the
//! project's own, kept in the database.

mod memory;
mod pool;
mod redis;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::memory::MemoryQueue;
pub use self::redis::RedisQueue;
use pool::Handler;

/// A pointer to a job in the database, small enough to be pushed any number of times.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Dispatch {
    /// The job to claim.
    pub job_id: Uuid,
    /// The number of this push among those of the job, by which the queue knows the message; none in a message of a version
    /// that did not count them.
    #[serde(default)]
    pub push: Option<i32>,
    /// How many attempts the job had had: once it has had more, the message is stale.
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
    /// Hands messages to the workers of `host`, in this order, and wakes idle ones at once. Answers within 2 seconds, with an
    /// error when Redis is away. A message takes the place of an earlier one of the same job that still waits.
    pub async fn push(&self, host: &str, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        match self {
            Self::Memory(queue) => {
                queue.push(host, dispatches);
                Ok(())
            }
            Self::Redis(queue) => queue.push(host, dispatches).await,
        }
    }

    /// Runs a worker for the queue of `host` until `stop` is cancelled: at most `concurrency` handlers at a
    /// time, and never a message taken ahead of a free one. After `stop` it takes nothing more and returns
    /// when the running handlers have returned.
    ///
    /// A message is off the queue when its handler starts. Handlers run as tasks of their own: a panic is logged, an error of
    /// Redis restarts the apalis worker, with back-off, and leaves them alone. Dropping the returned future drops the running
    /// handlers, as the end of the process would.
    pub async fn run<H, F>(
        &self,
        host: &str,
        worker: &str,
        concurrency: usize,
        handler: H,
        stop: CancellationToken,
    ) where
        H: Fn(Dispatch) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handler: Handler = Box::new(move |dispatch| handler(dispatch).boxed());
        match self {
            Self::Memory(queue) => queue.run(host, worker, concurrency, handler, stop).await,
            Self::Redis(queue) => queue.run(host, worker, concurrency, handler, stop).await,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_version_before_is_read() {
        let job_id = Uuid::now_v7();
        let written =
            format!(r#"{{"job_id":"{job_id}","pulls":"a:1","attempt":2,"traceparent":null}}"#);
        let read: Dispatch = serde_json::from_str(&written).unwrap();
        let expected = Dispatch {
            job_id,
            push: None,
            attempt: 2,
            traceparent: None,
        };
        assert_eq!(read, expected);
    }
}

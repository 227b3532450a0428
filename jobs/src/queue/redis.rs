//! The queue in Redis: apalis-redis, with what it leaves open closed here (see `lua/`).

mod worker;

use std::sync::LazyLock;
use std::time::Duration;

use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_redis::{Config, queries};
use redis::{AsyncCommands, Client, Script};
use tokio::time::timeout;

use super::{Dispatch, QueueError};
use crate::infra::redis_connection::Connection;

static MAKE_AVAILABLE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/make_available.lua")));
static VACUUM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/vacuum.lua")));

/// A whole operation of several commands; each command has a shorter deadline of its own.
const OPERATION: Duration = Duration::from_secs(2);
/// A worker that missed three of these is taken for dead and its messages go to the others.
const HEARTBEAT: Duration = Duration::from_secs(2);
const MISSED_HEARTBEATS: usize = 3;
const VACUUM_BITE: usize = 1000;

/// A queue per host in Redis or Valkey (`{prefix}:queue:{host}`).
#[derive(Clone)]
pub struct RedisQueue {
    client: Client,
    connection: Connection,
    prefix: String,
}

impl std::fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client knows the password.
        f.debug_struct("RedisQueue")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RedisQueue {
    /// A queue whose keys start with `prefix`. It connects at first use, so Redis may be down now; only a
    /// malformed `url` is an error. Call it inside a Tokio runtime.
    pub fn connect(url: &str, prefix: &str) -> Result<Self, QueueError> {
        let client = Client::open(url)?;
        Ok(Self {
            connection: Connection::new(&client)?,
            client,
            prefix: prefix.to_owned(),
        })
    }

    fn config(&self, host: &str) -> Config {
        Config::default()
            .queue(format!("{}:queue:{host}", self.prefix))
            // One at a time: while apalis has fetched messages in hand, it neither fetches nor heartbeats.
            .batch_size(1)
            .heartbeat_interval(HEARTBEAT)
            .missed_heartbeats(MISSED_HEARTBEATS)
            // The claim in the database is the lock; apalis' own costs a round trip and ends the worker when it fails.
            .lock_tasks(false)
            .emit_events(false)
    }

    pub(super) async fn push(&self, host: &str, dispatches: &[Dispatch]) -> Result<(), QueueError> {
        let config = self.config(host);
        let mut connection = self.connection.clone();
        let mut tasks = Vec::with_capacity(dispatches.len());
        for dispatch in dispatches {
            let task = TaskBuilder::new(serde_json::to_vec(dispatch)?);
            tasks.push(task.task_id(TaskId::from(message_id(dispatch, 0))).build());
        }
        in_operation(async {
            // Both are sent at once, in this order: one round trip.
            let mut second = connection.clone();
            let ((now, later), moved) = tokio::try_join!(
                async { Ok(queries::push_tasks(&mut connection, &config, &tasks).await?) },
                make_available(&mut second, &config, dispatches)
            )?;
            // Redis learnt the push's script anew and did the second first.
            if moved < now + later {
                make_available(&mut connection, &config, dispatches).await?;
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn vacuum(&self, host: &str) -> Result<usize, QueueError> {
        let config = self.config(host);
        let mut connection = self.connection.clone();
        let mut total = 0;
        loop {
            let gone: usize = VACUUM
                .key(config.done_jobs_set())
                .key(config.dead_jobs_set())
                .key(config.job_data_hash())
                .key(config.job_meta_hash())
                .arg(VACUUM_BITE)
                .invoke_async(&mut connection)
                .await?;
            total += gone;
            if gone < VACUUM_BITE {
                return Ok(total);
            }
        }
    }

    pub(super) async fn health(&self) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        in_operation(async { Ok(connection.ping::<()>().await?) }).await
    }
}

/// The id of a message in Redis, or of the one that was pushed so many before it. Each push has its own, so that apalis,
/// which ignores an id that it has seen, takes every one.
fn message_id(dispatch: &Dispatch, before: i32) -> String {
    match dispatch.push {
        Some(push) => format!("{}:{}", dispatch.job_id, push - before),
        None => dispatch.job_id.to_string(),
    }
}

/// Lets messages be fetched at once, and wakes a worker. Returns how many were waiting for that.
async fn make_available(
    connection: &mut Connection,
    config: &Config,
    dispatches: &[Dispatch],
) -> Result<u32, QueueError> {
    let mut script = MAKE_AVAILABLE.prepare_invoke();
    script
        .key(config.active_jobs_list())
        .key(config.scheduled_jobs_set())
        .key(config.job_data_hash())
        .key(config.job_meta_hash())
        .arg(wake_channel(config));
    for dispatch in dispatches {
        script
            .arg(message_id(dispatch, 0))
            .arg(message_id(dispatch, 1));
    }
    Ok(script.invoke_async(connection).await?)
}

fn wake_channel(config: &Config) -> String {
    format!("{}:wake", config.queue)
}

async fn in_operation<T>(
    operation: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    timeout(OPERATION, operation)
        .await
        .unwrap_or(Err(QueueError::Timeout))
}

//! The queue in Redis: apalis-redis, with what it leaves open closed here (see `lua/`).

mod worker;

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_redis::{Config, queries};
use redis::{AsyncCommands, Client, Script};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Dispatch, QueueError};
use crate::infra::redis_connection::Connection;

static FORGET_ENDED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/forget_ended.lua")));
static MAKE_AVAILABLE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/make_available.lua")));
static HOLDS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/holds.lua")));
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

    pub(super) async fn push(&self, host: &str, dispatch: &Dispatch) -> Result<(), QueueError> {
        let config = self.config(host);
        let mut connection = self.connection.clone();
        let id = dispatch.job_id.to_string();
        let task = [TaskBuilder::new(serde_json::to_vec(dispatch)?)
            .task_id(TaskId::from(id.clone()))
            .build()];
        in_operation(async {
            // Both are sent at once, in this order: one round trip.
            let mut second = connection.clone();
            let (pushed, mut moved) = tokio::try_join!(
                async {
                    let (now, later) = queries::push_tasks(&mut connection, &config, &task).await?;
                    Ok::<_, QueueError>(now + later)
                },
                self.make_available(&mut second, &config, &id)
            )?;
            let mut added = pushed;
            if pushed == 0 && moved == 0 {
                let forgotten: u32 = FORGET_ENDED
                    .key(config.job_data_hash())
                    .key(config.job_meta_hash())
                    .key(config.active_jobs_list())
                    .key(config.scheduled_jobs_set())
                    .key(config.workers_set())
                    .key(config.inflight_jobs_set())
                    .key(config.done_jobs_set())
                    .key(config.dead_jobs_set())
                    .arg(&id)
                    .invoke_async(&mut connection)
                    .await?;
                if forgotten == 1 {
                    let (now, later) = queries::push_tasks(&mut connection, &config, &task).await?;
                    added = now + later;
                    moved = 0;
                }
            }
            // Just pushed again, or Redis learnt the push's script anew and did the second first.
            if added > 0 && moved == 0 {
                self.make_available(&mut connection, &config, &id).await?;
            }
            Ok(())
        })
        .await
    }

    /// Lets a message be fetched at once, and wakes a worker. Returns how many were waiting for that.
    async fn make_available(
        &self,
        connection: &mut Connection,
        config: &Config,
        id: &str,
    ) -> Result<u32, QueueError> {
        Ok(MAKE_AVAILABLE
            .key(config.active_jobs_list())
            .key(config.scheduled_jobs_set())
            .arg(id)
            .arg(wake_channel(config))
            .invoke_async(connection)
            .await?)
    }

    pub(super) async fn holds(
        &self,
        host: &str,
        job_ids: &[Uuid],
    ) -> Result<HashSet<Uuid>, QueueError> {
        if job_ids.is_empty() {
            return Ok(HashSet::new());
        }
        let config = self.config(host);
        let mut connection = self.connection.clone();
        let ids: Vec<String> = job_ids.iter().map(Uuid::to_string).collect();
        let held: HashSet<String> = in_operation(async {
            Ok(HOLDS
                .key(config.active_jobs_list())
                .key(config.scheduled_jobs_set())
                .key(config.workers_set())
                .key(config.inflight_jobs_set())
                .arg(&ids)
                .invoke_async(&mut connection)
                .await?)
        })
        .await?;
        let is_held = |id: &Uuid| held.contains(&id.to_string());
        Ok(job_ids.iter().copied().filter(is_held).collect())
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

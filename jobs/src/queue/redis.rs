//! The queue in Redis: apalis-redis, with what it leaves open closed here (see `lua/`).

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use apalis_core::backend::ext::BackendExt;
use apalis_core::monitor::Monitor;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_redis::{Config, RedisStorage, queries};
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client, Script};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::pool::{Pool, drive};
use super::prompt::Prompt;
use super::{Dispatch, QueueError};
use crate::redis_link::{self, Backoff, KEEPALIVE, in_time};

static FORGET_ENDED: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/forget_ended.lua")));
static MAKE_AVAILABLE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/make_available.lua")));
static HOLDS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/holds.lua")));
static RETIRE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/retire.lua")));
static VACUUM: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/vacuum.lua")));

/// A whole operation of several commands; each command has a shorter deadline of its own.
const OPERATION: Duration = Duration::from_secs(2);
/// A worker that missed three of these is taken for dead and its messages go to the others.
const HEARTBEAT: Duration = Duration::from_secs(2);
const MISSED_HEARTBEATS: usize = 3;
/// apalis workers side by side: each fetches and acknowledges one message at a time, in two round trips.
const LANES: usize = 2;
/// A worker that ran this long did not fail for the reason of the one before.
const STEADY: Duration = Duration::from_secs(10);
const VACUUM_EVERY: Duration = Duration::from_secs(5);
const VACUUM_BITE: usize = 1000;
/// apalis keeps a note about every worker for ever; this lets the notes of killed ones go.
const WORKER_NOTE_SECONDS: i64 = 86_400;

/// A queue per host in Redis or Valkey (`{prefix}:queue:{host}`).
#[derive(Clone)]
pub struct RedisQueue {
    client: Client,
    connection: ConnectionManager,
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
            connection: redis_link::manager(&client)?,
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
            let (now, later) = queries::push_tasks(&mut connection, &config, &task).await?;
            if now + later == 0 {
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
                    queries::push_tasks(&mut connection, &config, &task).await?;
                }
            }
            MAKE_AVAILABLE
                .key(config.active_jobs_list())
                .key(config.scheduled_jobs_set())
                .arg(&id)
                .arg(wake_channel(&config))
                .invoke_async::<()>(&mut connection)
                .await?;
            Ok(())
        })
        .await
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

    pub(super) async fn run<H, F>(
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
        let pool = Pool::new(concurrency, handler, stop.clone());
        let (wake, woken) = watch::channel(());
        let work = async {
            let lanes = concurrency.clamp(1, LANES);
            join_all((0..lanes).map(|_| self.lane(host, worker, &pool, &woken, &stop))).await;
            pool.drained().await;
        };
        tokio::select! {
            () = work => {}
            () = self.listen(host, &wake) => {}
            () = self.keep_clean(host) => {}
        }
        Ok(())
    }

    /// One apalis worker after another, until `stop`.
    async fn lane<H, F>(
        &self,
        host: &str,
        worker: &str,
        pool: &Pool<H>,
        woken: &watch::Receiver<()>,
        stop: &CancellationToken,
    ) where
        H: Fn(Dispatch) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            let start = Instant::now();
            // A new name each time: apalis refuses a name that was seen a moment ago.
            let name = format!("{worker}-{}", Uuid::new_v4().simple());
            if let Err(error) = self.work(host, &name, pool, woken, stop).await {
                tracing::warn!(host, worker, error, "restarting the worker");
            }
            if start.elapsed() > STEADY {
                backoff.reset();
            }
            stop.run_until_cancelled(backoff.wait()).await;
        }
    }

    /// One apalis worker, from its registration to its first error or its end.
    async fn work<H, F>(
        &self,
        host: &str,
        name: &str,
        pool: &Pool<H>,
        woken: &watch::Receiver<()>,
        stop: &CancellationToken,
    ) -> Result<(), String>
    where
        H: Fn(Dispatch) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let config = self.config(host);
        let note = format!("{}:workers:metadata:{name}", config.queue);
        self.expire_note(&note)
            .await
            .map_err(|error| error.to_string())?;
        let outcome = {
            let ended = Arc::<AtomicBool>::default();
            let (woken, name) = (woken.clone(), name.to_owned());
            let storage = RedisStorage::<Dispatch, _>::new(Prompt {
                connection: self.connection.clone(),
                ended: ended.clone(),
            })
            .with_config(config.clone());
            let service = std::sync::Mutex::new(Some(pool.service(ended)));
            let monitor = Monitor::new().register(move |_| {
                let service = service.lock().ok().and_then(|mut service| service.take());
                WorkerBuilder::new(name.as_str())
                    .backend(storage.clone().poll_with_stream(wakes(woken.clone())))
                    .build(service.expect("a monitor without restarts builds its worker once"))
            });
            drive(monitor, stop).await
        };
        if let Err(error) = self.retire(&config, name, &note).await {
            // Its messages go to the others after the missed heartbeats.
            tracing::debug!(host, name, %error, "could not retire the worker");
        }
        outcome
    }

    /// Also tells, before apalis starts, whether Redis answers.
    async fn expire_note(&self, note: &str) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        let mut pipe = redis::pipe();
        pipe.hset(note, "backend_name", "RedisStorage").ignore();
        pipe.expire(note, WORKER_NOTE_SECONDS).ignore();
        in_operation(async { Ok(pipe.query_async(&mut connection).await?) }).await
    }

    async fn retire(&self, config: &Config, name: &str, note: &str) -> Result<u32, QueueError> {
        let mut connection = self.connection.clone();
        in_operation(async {
            Ok(RETIRE
                .key(config.active_jobs_list())
                .key(config.workers_set())
                .key(format!("{}:{name}", config.inflight_jobs_set()))
                .key(note)
                .key(config.job_data_hash())
                .key(config.job_meta_hash())
                .arg(name)
                .arg(wake_channel(config))
                .invoke_async(&mut connection)
                .await?)
        })
        .await
    }

    /// Wakes the worker at each push, and when the connection was renewed: pushes may have been missed.
    async fn listen(&self, host: &str, wake: &watch::Sender<()>) {
        let channel = wake_channel(&self.config(host));
        let mut backoff = Backoff::new();
        loop {
            if let Ok((mut sink, mut pushes)) = redis_link::pubsub(&self.client).await
                && in_time(sink.subscribe(&channel)).await.is_ok()
            {
                backoff.reset();
                wake.send_replace(());
                loop {
                    match timeout(KEEPALIVE, pushes.next()).await {
                        Ok(Some(_push)) => {
                            wake.send_replace(());
                        }
                        Ok(None) => break,
                        Err(_silence) if in_time(sink.ping::<()>()).await.is_ok() => {}
                        Err(_silence) => break,
                    }
                }
            }
            backoff.wait().await;
        }
    }

    async fn keep_clean(&self, host: &str) {
        let mut ticks = interval(VACUUM_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.vacuum(host).await {
                tracing::debug!(host, %error, "could not vacuum the queue");
            }
        }
    }
}

fn wake_channel(config: &Config) -> String {
    format!("{}:wake", config.queue)
}

/// Pushes as apalis wants to be told of them. A fetch that is under way may have looked before the push:
/// waking the poller once more makes it look again when that fetch comes back empty.
fn wakes(woken: watch::Receiver<()>) -> impl Stream<Item = ()> + Unpin + Send + Sync + 'static {
    let mut woken = WatchStream::new(woken);
    stream::poll_fn(move |cx| {
        let item = woken.poll_next_unpin(cx);
        if item.is_ready() {
            cx.waker().wake_by_ref();
        }
        item
    })
}

async fn in_operation<T>(
    operation: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    timeout(OPERATION, operation)
        .await
        .unwrap_or(Err(QueueError::Timeout))
}

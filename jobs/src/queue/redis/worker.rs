//! The worker of a host: apalis workers, made again after any error, and what they need beside them.

use std::sync::Arc;
use std::time::Duration;

use apalis_core::backend::ext::BackendExt;
use apalis_core::monitor::Monitor;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_redis::{Config, RedisStorage};
use futures::StreamExt;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{RedisQueue, in_operation, wake_channel};
use crate::infra::redis_connection::{self, Backoff, KEEPALIVE, in_time};
use crate::queue::pool::{Handler, Pool, drive};
use crate::queue::{Dispatch, QueueError};

/// apalis workers side by side: each fetches and acknowledges one message at a time, in two round trips.
const LANES: usize = 2;
/// A worker that ran this long did not fail for the reason of the one before.
const STEADY: Duration = Duration::from_secs(10);
/// How often a worker looks whether anything is due, besides at each push: twice between heartbeats, because apalis
/// oversleeps one that comes due while it fetches.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const VACUUM_EVERY: Duration = Duration::from_secs(5);
/// apalis keeps a note about every worker for ever; this lets the notes of killed ones go.
const WORKER_NOTE_SECONDS: i64 = 86_400;

impl RedisQueue {
    pub(in crate::queue) async fn run(
        &self,
        host: &str,
        worker: &str,
        concurrency: usize,
        handler: Handler,
        stop: CancellationToken,
    ) {
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
            () = look_up(&wake) => {}
            () = self.keep_clean(host) => {}
        }
    }

    /// One apalis worker after another, until `stop`.
    async fn lane(
        &self,
        host: &str,
        worker: &str,
        pool: &Arc<Pool>,
        woken: &watch::Receiver<()>,
        stop: &CancellationToken,
    ) {
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
    async fn work(
        &self,
        host: &str,
        name: &str,
        pool: &Arc<Pool>,
        woken: &watch::Receiver<()>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let config = self.config(host);
        let note = note_of(&config, name);
        self.expire_note(&note)
            .await
            .map_err(|error| error.to_string())?;
        let storage = RedisStorage::<Dispatch, _>::new(self.connection.waking(woken.clone()))
            .with_config(config.clone());
        let (woken, workers, worker) = (woken.clone(), pool.clone(), name.to_owned());
        let monitor = Monitor::new().register(move |_| {
            let wakes = WatchStream::new(woken.clone());
            WorkerBuilder::new(worker.as_str())
                .backend(storage.clone().poll_with_stream(wakes))
                .build(workers.service())
        });
        let outcome = drive(monitor, stop).await;
        if let Err(error) = self.deregister(&config, name, &note).await {
            // apalis does after missed heartbeats.
            tracing::debug!(host, name, %error, "could not deregister the worker");
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

    /// Forgets an apalis worker. A message that it had fetched and not yet acknowledged counts as dealt with.
    async fn deregister(&self, config: &Config, name: &str, note: &str) -> Result<(), QueueError> {
        let mut connection = self.connection.clone();
        let fetched = format!("{}:{name}", config.inflight_jobs_set());
        let done = config.done_jobs_set();
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.sunionstore(&done, &[done.as_str(), fetched.as_str()])
            .ignore();
        pipe.zrem(config.workers_set(), name).ignore();
        pipe.del(&[fetched.as_str(), note]).ignore();
        in_operation(async { Ok(pipe.query_async(&mut connection).await?) }).await
    }

    /// Wakes the worker at each push, and when the connection was renewed: pushes may have been missed.
    async fn listen(&self, host: &str, wake: &watch::Sender<()>) {
        let channel = wake_channel(&self.config(host));
        let mut backoff = Backoff::new();
        loop {
            if let Ok((mut sink, mut pushes)) = redis_connection::pubsub(&self.client).await
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
        loop {
            if let Err(error) = self.vacuum(host).await {
                tracing::debug!(host, %error, "could not vacuum the queue");
            }
            sleep(VACUUM_EVERY).await;
        }
    }
}

/// Where apalis keeps a note about one of its workers.
fn note_of(config: &Config, name: &str) -> String {
    format!("{}:workers:metadata:{name}", config.queue)
}

/// Wakes the worker from time to time.
async fn look_up(wake: &watch::Sender<()>) {
    loop {
        wake.send_replace(());
        sleep(LOOK_EVERY).await;
    }
}

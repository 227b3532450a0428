//! A worker as a process of its own: its own runtime and connections, all gone when it is killed.

use std::sync::Arc;

use redis::AsyncCommands as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_jobs::engine::Engine;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::infra::db::Db;
use wharfinger_jobs::infra::keyring::Keyring;
use wharfinger_jobs::live::events::Events;
use wharfinger_jobs::queue::{JobQueue, MemoryQueue, RedisQueue};
use wharfinger_jobs::registry::{RegistryClient, RegistryRules, Timeouts};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::settings::Settings;
use wharfinger_jobs::worker::Worker;
use wharfinger_jobs::{dispatch, maintenance};

use super::{Shape, variable};

/// What every process of the tests encrypts logins with.
pub(crate) const KEY: &str = "6b1f0d35d1b54c2d8d5b5ad3a1a8c6c3d0fd2b7c6b2f5be0a0d6c65f6f6e1a11";

/// How processes reach each other.
#[derive(Clone)]
pub(crate) enum Link {
    /// They are one.
    Memory { queue: MemoryQueue, events: Events },
    /// Through Redis.
    Redis { url: String, prefix: String },
}

impl Link {
    /// What belongs to a shape.
    pub(crate) fn of(shape: Shape) -> Self {
        match shape {
            Shape::Embedded => Self::memory(),
            Shape::Postgres | Shape::MariaDb => Self::Redis {
                url: variable("WHARFINGER_TEST_REDIS_URL"),
                prefix: format!("life:{}", Uuid::new_v4().simple()),
            },
        }
    }

    /// Whether a message of a job waits for a worker.
    pub(crate) async fn has_message_of(&self, job: Uuid) -> bool {
        let job = job.to_string();
        match self {
            Self::Memory { queue, .. } => format!("{queue:?}").contains(&job),
            Self::Redis { .. } => {
                let entries = self.entries().await;
                let waiting = entries.iter().filter(|(key, _)| key.ends_with(":active"));
                format!("{:?}", waiting.collect::<Vec<_>>()).contains(&job)
            }
        }
    }

    /// What is stored of the queue in Redis, for a look at what went wrong.
    pub(crate) async fn entries(&self) -> Vec<(String, redis::Value)> {
        let Self::Redis { url, prefix } = self else {
            return Vec::new();
        };
        let client = redis::Client::open(url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = connection.keys(format!("{prefix}:*")).await.unwrap();
        let mut entries = Vec::new();
        for key in keys {
            let kind: String = redis::cmd("TYPE")
                .arg(&key)
                .query_async(&mut connection)
                .await
                .unwrap();
            let mut read = match kind.as_str() {
                "list" => redis::cmd("LRANGE"),
                "zset" => redis::cmd("ZRANGE"),
                "set" => redis::cmd("SMEMBERS"),
                "hash" => redis::cmd("HGETALL"),
                _ => continue,
            };
            read.arg(&key);
            if kind == "list" || kind == "zset" {
                read.arg(0).arg(-1);
            }
            if kind == "zset" {
                read.arg("WITHSCORES");
            }
            entries.push((key, read.query_async(&mut connection).await.unwrap()));
        }
        entries
    }

    /// Everything inside this process.
    pub(crate) fn memory() -> Self {
        Self::Memory {
            queue: MemoryQueue::new(),
            events: Events::local(),
        }
    }
}

/// The only registries that the tests may pull from.
pub(crate) fn rules() -> RegistryRules {
    RegistryRules::parse(&["127.0.0.1:*".to_owned()], &[]).unwrap()
}

/// The parts of one process, with connections of its own.
pub(crate) async fn services(database: &str, link: &Link, settings: &Settings) -> Services {
    let (queue, events) = match link {
        Link::Memory { queue, events } => (JobQueue::Memory(queue.clone()), events.clone()),
        Link::Redis { url, prefix } => (
            JobQueue::Redis(RedisQueue::connect(url, prefix).unwrap()),
            Events::redis(url, prefix).unwrap(),
        ),
    };
    Services::new(
        Db::connect(database).await.unwrap(),
        queue,
        events,
        Arc::new(settings.clone()),
        Arc::new(rules()),
        Clock::system(),
    )
    .with_keys(Some(Arc::new(Keyring::parse(KEY).unwrap())))
}

/// A running worker.
pub(crate) struct WorkerProcess {
    runtime: Runtime,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl WorkerProcess {
    /// Starts it; returns when its host is online.
    pub(crate) async fn start(
        database: &str,
        link: &Link,
        settings: &Settings,
        host: &str,
        engine: &str,
    ) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let stop = CancellationToken::new();
        let (joined, online) = oneshot::channel();
        let ended = runtime.spawn({
            let (database, link, settings) = (database.to_owned(), link.clone(), settings.clone());
            let (host, engine, stop) = (host.to_owned(), engine.to_owned(), stop.clone());
            async move {
                let services = services(&database, &link, &settings).await;
                let engine = Engine::connect(Some(&engine)).unwrap();
                let registry = RegistryClient::new(rules(), Timeouts::default());
                let worker = Worker::join(services.clone(), engine, registry, &host)
                    .await
                    .unwrap();
                let host_id = worker.host_id();
                joined.send(()).unwrap();
                match link {
                    Link::Memory { .. } => worker.run(stop).await,
                    Link::Redis { .. } => {
                        let housekeeping = maintenance::run(services.clone(), stop.clone());
                        let dispatching = dispatch::run(services, Some(host_id), stop.clone());
                        tokio::join!(worker.run(stop), dispatching, housekeeping);
                    }
                }
            }
        });
        super::in_time("a worker joins", online).await.unwrap();
        Self {
            runtime,
            stop,
            ended,
        }
    }

    /// `kill -9`
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }

    /// SIGTERM, and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        super::in_time("a worker stops", self.ended).await.unwrap();
        self.runtime.shutdown_background();
    }
}

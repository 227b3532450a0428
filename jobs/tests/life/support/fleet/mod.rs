//! A whole Wharfinger without its API: a database, a dispatcher, workers.

mod requests;
mod seen;

use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use uuid::Uuid;
use wharfinger_entity::host;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::live::events::Topic;
use wharfinger_jobs::queries::progress_watch::Watches;
use wharfinger_jobs::queries::queues::{QueueDepth, depths};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::settings::Settings;
use wharfinger_jobs::testing::registry::TestRegistry;
use wharfinger_jobs::{dispatch, maintenance};

use super::background::Background;
use super::database::TestDatabase;
use super::engine::TestEngine;
use super::engine_gate::EngineGate;
use super::invariants::check_invariants;
use super::process::{Link, WorkerProcess, services};
use super::{Shape, edges, settings};

pub(crate) use requests::StuckPull;

/// How soon after one look at the invariants the next one may follow, and how soon it does where nothing is told.
const AUDIT_AT_MOST_EACH: Duration = Duration::from_millis(50);
const AUDIT_AT_LEAST_EACH: Duration = Duration::from_millis(200);

/// A fleet of one host; its workers share that host's engine.
pub(crate) struct Fleet {
    pub(crate) services: Services,
    pub(crate) settings: Settings,
    pub(crate) engine: TestEngine,
    pub(crate) registry: TestRegistry,
    pub(crate) watches: Watches,
    host: String,
    database: TestDatabase,
    link: Link,
    dispatcher: Option<Background>,
    auditor: Option<Background>,
    workers: Vec<WorkerProcess>,
}

impl Fleet {
    /// A dispatcher and one worker.
    pub(crate) async fn start(shape: Shape) -> Self {
        Self::with(shape, |_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn with(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let mut fleet = Self::idle(shape, change).await;
        fleet.start_worker().await;
        fleet
    }

    /// A dispatcher and no worker yet.
    pub(crate) async fn idle(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        Self::without_worker(shape, Link::of(shape), change).await
    }

    /// The same with other settings and an engine at another address, with a Redis or without.
    pub(crate) async fn at_engine(
        shape: Shape,
        engine: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut fleet = Self::without_worker(shape, Link::of(shape), change).await;
        fleet.start_worker_at(engine).await;
        fleet
    }

    /// The same with an engine behind a gate.
    pub(crate) async fn gated(
        shape: Shape,
        change: impl FnOnce(&mut Settings),
    ) -> (Self, EngineGate) {
        let mut fleet = Self::idle(shape, change).await;
        let gate = EngineGate::start(&fleet.engine.url).await;
        fleet.start_worker_at(&gate.url).await;
        (fleet, gate)
    }

    /// The same with a Redis of the test's own.
    pub(crate) async fn over_redis(
        shape: Shape,
        url: String,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let prefix = "life".to_owned();
        let mut fleet = Self::without_worker(shape, Link::Redis { url, prefix }, change).await;
        fleet.start_worker().await;
        fleet
    }

    async fn without_worker(shape: Shape, link: Link, change: impl FnOnce(&mut Settings)) -> Self {
        log_where_asked();
        let mut settings = settings();
        change(&mut settings);
        let database = TestDatabase::create(shape).await;
        let services = services(&database.url, &link, &settings).await;
        services.db.migrate().await.unwrap();
        edges::enforce(&services.db).await;
        let mut fleet = Self {
            engine: TestEngine::open(1),
            registry: TestRegistry::open(),
            watches: Watches::default(),
            host: format!("host-{}", Uuid::new_v4().simple()),
            auditor: Some(audit(&services)),
            dispatcher: None,
            workers: Vec::new(),
            services,
            settings,
            database,
            link,
        };
        fleet.start_dispatcher();
        fleet
    }

    /// Starts the dispatcher of the fleet.
    pub(crate) fn start_dispatcher(&mut self) {
        let services = self.services.clone();
        self.dispatcher = Some(Background::start(|stop| async move {
            let dispatching = dispatch::run(services.clone(), None, stop.clone());
            tokio::join!(dispatching, maintenance::run(services, stop));
        }));
    }

    /// Ends it.
    pub(crate) async fn stop_dispatcher(&mut self) {
        if let Some(dispatcher) = self.dispatcher.take() {
            dispatcher.stop().await;
        }
    }

    /// Adds a worker.
    pub(crate) async fn start_worker(&mut self) {
        let engine = self.engine.url.clone();
        self.start_worker_at(&engine).await;
    }

    /// Adds a worker that reaches its engine at another address.
    pub(crate) async fn start_worker_at(&mut self, engine: &str) {
        let host = self.host.clone();
        self.start_worker_on(&host, engine).await;
    }

    /// Adds a worker that reaches the database at another URL.
    pub(crate) async fn start_worker_over(&mut self, database: &str) {
        let (link, settings) = (&self.link, &self.settings);
        let worker =
            WorkerProcess::start(database, link, settings, &self.host, &self.engine.url).await;
        self.workers.push(worker);
    }

    /// Adds a worker of a host. Returns the host's id.
    pub(crate) async fn start_worker_on(&mut self, host: &str, engine: &str) -> Uuid {
        let (database, link) = (&self.database.url, &self.link);
        let settings = &self.settings;
        let worker = WorkerProcess::start(database, link, settings, host, engine).await;
        self.workers.push(worker);
        let row = host::Entity::find()
            .filter(host::Column::Name.eq(host))
            .one(self.services.db.read());
        row.await.unwrap().unwrap().id
    }

    /// Kills the oldest worker. In the embedded shape all is one process: what its queue and events knew goes too.
    pub(crate) async fn kill_worker(&mut self) {
        self.workers.remove(0).kill();
        if matches!(self.link, Link::Memory { .. }) {
            if let Some(dispatcher) = self.dispatcher.take() {
                dispatcher.kill();
            }
            self.link = Link::memory();
            self.services = services(&self.database.url, &self.link, &self.settings).await;
            self.start_dispatcher();
            if let Some(auditor) = self.auditor.take() {
                auditor.stop().await;
                self.auditor = Some(audit(&self.services));
            }
        }
    }

    /// Stops the oldest worker in an orderly way.
    pub(crate) async fn stop_worker(&mut self) {
        self.workers.remove(0).stop().await;
    }

    /// The parts of one more process, with connections of its own and this clock.
    pub(crate) async fn process(&self, clock: Clock) -> Services {
        let mut process = services(&self.database.url, &self.link, &self.settings).await;
        process.clock = clock;
        process
    }

    /// The parts of one more process, which reaches the database at another URL.
    pub(crate) async fn process_at(&self, database: &str) -> Services {
        services(database, &self.link, &self.settings).await
    }

    /// The URL of the database.
    pub(crate) fn database_url(&self) -> &str {
        &self.database.url
    }

    /// The name of the host.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The host's queue as administrators see it.
    pub(crate) async fn queue(&self) -> QueueDepth {
        let now = self.services.clock.now();
        let queues = depths(&self.services.db, now).await.unwrap();
        let own = queues.into_iter().find(|queue| queue.host == self.host);
        own.unwrap()
    }

    /// Ends the fleet, and checks what must hold.
    pub(crate) async fn finish(mut self) {
        while !self.workers.is_empty() {
            self.stop_worker().await;
        }
        self.stop_dispatcher().await;
        self.stop_auditing().await;
        check_invariants(&self.services.db).await;
    }

    /// From now on the invariants are only checked in the end.
    pub(crate) async fn stop_auditing(&mut self) {
        if let Some(auditor) = self.auditor.take() {
            auditor.stop().await;
        }
    }
}

/// Checks the invariants whenever a job has changed, and now and then, not only when all is quiet.
fn audit(services: &Services) -> Background {
    let services = services.clone();
    Background::start(|stop| async move {
        let mut changes = services.events.subscribe(Topic::AllJobs);
        loop {
            check_invariants(&services.db).await;
            let next = async {
                tokio::time::sleep(AUDIT_AT_MOST_EACH).await;
                let _ = tokio::time::timeout(AUDIT_AT_LEAST_EACH, changes.next()).await;
            };
            if stop.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    })
}

/// `RUST_LOG` shows what the fleets do.
fn log_where_asked() {
    if let Ok(filter) = std::env::var("RUST_LOG") {
        // Only the first fleet of the process sets it up.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
    }
}

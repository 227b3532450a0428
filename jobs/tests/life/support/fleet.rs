//! A whole Wharfinger without its API: a database, a dispatcher, workers.

use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};
use uuid::Uuid;
use wharfinger_entity::{
    Credits, ImageState, ImageVisibility, JobErrorCode, JobState, LedgerEntryKind, Role, Timestamp,
    engine_image, host, image, job, job_attempt, ledger_entry, user,
};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::set_image_visibility::set_image_visibility;
use wharfinger_jobs::error::UserError;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::pull_image;
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::progress_watch::Watches;
use wharfinger_jobs::queries::queues::{QueueDepth, depths};
use wharfinger_jobs::remove_image::{self, RemoveImage};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::settings::{
    CreditSettings, HostSettings, LimitSettings, ReconcileSettings, RetrySettings, SessionSettings,
    Settings, WorkerSettings,
};
use wharfinger_jobs::testing::registry::TestRegistry;
use wharfinger_jobs::{dispatch, maintenance};

use super::background::Background;
use super::database::TestDatabase;
use super::engine::TestEngine;
use super::engine_gate::EngineGate;
use super::images::{Repository, random_image};
use super::invariants::check_invariants;
use super::process::{Link, WorkerProcess, services};
use super::proxy::Proxy;
use super::{DEADLINE, Shape, edges, eventually, in_time, rejected, rows};

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

/// A pull that is stuck in the middle of its layer.
pub(crate) struct StuckPull {
    pub(crate) proxy: Proxy,
    pub(crate) repository: Repository,
    /// The image id.
    pub(crate) id: String,
    pub(crate) user: Uuid,
    pub(crate) job: Uuid,
}

/// Short ones.
pub(crate) fn settings() -> Settings {
    let ms = Duration::from_millis;
    Settings {
        credits: CreditSettings {
            initial: Credits::from_micro(100_000_000),
            minimum_to_pull: Credits::from_micro(1_000_000),
        },
        retry: RetrySettings {
            max_attempts: 3,
            base_delay: ms(50),
            max_delay: ms(200),
            rate_limit_patience: ms(21_600_000),
        },
        worker: WorkerSettings {
            listen: None,
            lease: ms(2000),
            concurrency: 4,
            stall_timeout: ms(20_000),
            pull_timeout: ms(60_000),
            grace: ms(200),
            labels: std::collections::BTreeMap::new(),
        },
        host: HostSettings {
            offline_after: ms(30_000),
            lost_after: ms(86_400_000),
        },
        reconcile: ReconcileSettings { interval: ms(500) },
        limits: LimitSettings::unlimited(),
        sessions: SessionSettings {
            lifetime: ms(3_600_000),
        },
    }
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

    /// An unused repository of the registry.
    pub(crate) fn repository(&self) -> Repository {
        Repository::at(&self.registry.address)
    }

    /// An unused repository of the registry, by way of a proxy.
    pub(crate) async fn behind_proxy(&self) -> (Proxy, Repository) {
        let proxy = Proxy::start(&self.registry.address).await;
        let repository = Repository::at(&proxy.address);
        (proxy, repository)
    }

    /// Pushes an image of so many random bytes under a tag. Returns its image id.
    pub(crate) async fn push(&self, repository: &Repository, tag: &str, bytes: usize) -> String {
        self.push_under(repository, &[tag], bytes).await
    }

    /// Pushes one such image under several tags.
    pub(crate) async fn push_under(
        &self,
        repository: &Repository,
        tags: &[&str],
        bytes: usize,
    ) -> String {
        let (image, mut id) = (random_image(bytes), String::new());
        for tag in tags {
            id = repository.push(&self.registry, tag, &image).await;
        }
        id
    }

    /// A new user with this many credits.
    pub(crate) async fn user(&self, credits: &str) -> Uuid {
        self.new_user(Role::User, credits).await
    }

    /// A new administrator, without any credits.
    pub(crate) async fn admin(&self) -> Uuid {
        self.new_user(Role::Admin, "0").await
    }

    /// A new user in this role, with this many credits.
    pub(crate) async fn new_user(&self, role: Role, credits: &str) -> Uuid {
        rows::user(&self.services, role, super::credits(credits)).await
    }

    /// A user's row.
    pub(crate) async fn account(&self, id: Uuid) -> user::Model {
        let found = user::Entity::find_by_id(id).one(self.services.db.read());
        found.await.unwrap().unwrap()
    }

    /// Asks for an image.
    pub(crate) async fn try_pull(
        &self,
        user: Uuid,
        reference: &str,
    ) -> Result<job::Model, UserError> {
        self.try_pull_onto(None, user, reference).await
    }

    /// Asks for an image on a host.
    pub(crate) async fn try_pull_onto(
        &self,
        host: Option<Uuid>,
        user: Uuid,
        reference: &str,
    ) -> Result<job::Model, UserError> {
        let request = rows::pull_image(user, host, reference);
        rejected(pull_image::accept(&self.services, &request).await)
    }

    /// Asks for an image and is accepted.
    pub(crate) async fn pull(&self, user: Uuid, reference: &str) -> job::Model {
        self.try_pull(user, reference).await.unwrap()
    }

    /// Asks for an image and gets it. Returns the holding.
    pub(crate) async fn pulled(&self, user: Uuid, reference: &str) -> image::Model {
        let job = self.pull(user, reference).await;
        let job = self.succeeds(job.id).await;
        self.image(job.image_id.unwrap()).await
    }

    /// Lets go of an image.
    pub(crate) async fn try_remove(
        &self,
        user: Uuid,
        image: Uuid,
    ) -> Result<job::Model, UserError> {
        let request = RemoveImage {
            user_id: user,
            image_id: Some(image),
            idempotency_key: None,
            traceparent: None,
        };
        rejected(remove_image::accept(&self.services, &request).await)
    }

    /// Lets go of an image and waits until it is done.
    pub(crate) async fn removed(&self, user: Uuid, image: Uuid) -> job::Model {
        let job = self.try_remove(user, image).await.unwrap();
        self.succeeds(job.id).await
    }

    /// Publishes an image, or would make it private again.
    pub(crate) async fn set_visibility(
        &self,
        admin: Uuid,
        image: Uuid,
        visibility: ImageVisibility,
    ) -> Result<image::Model, UserError> {
        let actor = Actor::from(&self.account(admin).await);
        let set = set_image_visibility(&self.services, &actor, Some(image), visibility);
        rejected(set.await)
    }

    /// Publishes an image.
    pub(crate) async fn published(&self, admin: Uuid, image: Uuid) -> image::Model {
        let public = self.set_visibility(admin, image, ImageVisibility::Public);
        public.await.unwrap()
    }

    /// A user's ledger, oldest entry first.
    pub(crate) async fn ledger(&self, user: Uuid) -> Vec<ledger_entry::Model> {
        let entries = ledger_entry::Entity::find()
            .filter(ledger_entry::Column::UserId.eq(user))
            .order_by_asc(ledger_entry::Column::Number);
        entries.all(self.services.db.read()).await.unwrap()
    }

    /// The reasons of a user's refunds, oldest first.
    pub(crate) async fn refunds(&self, user: Uuid) -> Vec<String> {
        let entries = self.ledger(user).await.into_iter();
        entries
            .filter(|entry| entry.kind == LedgerEntryKind::Refund)
            .map(|entry| entry.reason.unwrap_or_default())
            .collect()
    }

    /// What a user holds now; with the nil id, what is public.
    pub(crate) async fn holdings(&self, holder: Uuid) -> Vec<image::Model> {
        let held = image::Entity::find()
            .filter(image::Column::Holder.eq(holder))
            .filter(image::Column::Live.eq(1))
            .order_by_asc(image::Column::Id);
        held.all(self.services.db.read()).await.unwrap()
    }

    /// The exposed ports of the images that a user holds.
    pub(crate) async fn engine_images_of(&self, holder: Uuid) -> Vec<String> {
        let mut ports = Vec::new();
        for held in self.holdings(holder).await {
            let found = engine_image::Entity::find_by_id(held.engine_image_id);
            let found = found.one(self.services.db.read()).await.unwrap().unwrap();
            ports.push(found.exposed_ports.to_strings().join(" "));
        }
        ports
    }

    /// A job's row.
    pub(crate) async fn job(&self, id: Uuid) -> job::Model {
        let found = job::Entity::find_by_id(id).one(self.services.db.read());
        found.await.unwrap().unwrap()
    }

    /// A holding's row.
    pub(crate) async fn image(&self, id: Uuid) -> image::Model {
        let found = image::Entity::find_by_id(id).one(self.services.db.read());
        found.await.unwrap().unwrap()
    }

    /// A job's attempts, oldest first.
    pub(crate) async fn attempts(&self, id: Uuid) -> Vec<job_attempt::Model> {
        let administrator = Viewer {
            user_id: Uuid::nil(),
            admin: true,
        };
        wharfinger_jobs::queries::jobs::attempts(&self.services.db, administrator, &[id])
            .await
            .unwrap()
    }

    /// Watches a job until it has ended.
    pub(crate) async fn ended(&self, id: Uuid) -> job::Model {
        let frames = self.watches.follow(&self.services, id);
        let mut frames = std::pin::pin!(frames);
        let mut last = i32::MIN;
        let watching = async {
            while let Some(frame) = frames.next().await {
                assert!(frame.sequence > last, "{} after {last}", frame.sequence);
                last = frame.sequence;
            }
        };
        if tokio::time::timeout(DEADLINE, watching).await.is_err() {
            let (job, attempts) = (self.job(id).await, self.attempts(id).await);
            let queue = self.link.entries().await;
            panic!(
                "no end within {DEADLINE:?} of {job:#?}, {attempts:#?}\nthe queue has {queue:#?}"
            );
        }
        let job = self.job(id).await;
        assert!(job.state.is_final(), "{job:?}");
        job
    }

    /// Watches a job until it has ended in a state after so many attempts.
    pub(crate) async fn ends(&self, id: Uuid, state: JobState, attempts: i32) -> job::Model {
        let job = self.ended(id).await;
        assert_eq!((job.state, job.attempt), (state, attempts), "{job:?}");
        job
    }

    /// Watches a job until it has succeeded.
    pub(crate) async fn succeeds(&self, id: Uuid) -> job::Model {
        let job = self.ended(id).await;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
        job
    }

    /// Watches a job until it has failed for this reason.
    pub(crate) async fn fails(&self, id: Uuid, reason: JobErrorCode) -> job::Model {
        let job = self.ended(id).await;
        let end = (job.state, job.error_code);
        assert_eq!(end, (JobState::Failed, Some(reason)), "{job:?}");
        job
    }

    /// A new user's pull that is stuck in the middle of its layer.
    pub(crate) async fn stuck_pull(&self) -> StuckPull {
        let (proxy, repository) = self.behind_proxy().await;
        let id = self.push(&repository, "1", 400_000).await;
        let user = self.user("100").await;
        proxy.block();
        let job = self.pull(user, &repository.tag("1")).await.id;
        self.downloads(job).await;
        proxy.stuck().await;
        StuckPull {
            proxy,
            repository,
            id,
            user,
            job,
        }
    }

    /// Waits until bytes of a job's image arrive.
    pub(crate) async fn downloads(&self, id: Uuid) {
        let frames = self.watches.follow(&self.services, id);
        let mut frames = std::pin::pin!(frames);
        in_time(&format!("progress of job {id}"), async {
            while let Some(frame) = frames.next().await {
                assert!(!frame.state.is_final(), "{frame:?}");
                if frame.snapshot.downloaded > 0 {
                    return;
                }
            }
            panic!("the watch of job {id} ended");
        })
        .await;
    }

    /// Waits until the queue has a job.
    pub(crate) async fn handed_out(&self, id: Uuid) {
        eventually(&format!("job {id} is handed out"), || async {
            self.job(id).await.dispatched_at
        })
        .await;
    }

    /// Whether a message of a job waits in the queue for a worker.
    pub(crate) async fn waits_in_queue(&self, id: Uuid) -> bool {
        self.link.has_message_of(id).await
    }

    /// Takes the lock of an image on the engine, as a removal would: nothing settles until it is given back.
    pub(crate) async fn lock_image(&self, image_id: &str) {
        let until = self.services.clock.now().after(Duration::from_secs(100));
        self.set_lock(image_id, Some(Uuid::new_v4()), Some(until))
            .await;
    }

    /// Gives it back.
    pub(crate) async fn unlock_image(&self, image_id: &str) {
        self.set_lock(image_id, None, None).await;
    }

    async fn set_lock(&self, image_id: &str, token: Option<Uuid>, until: Option<Timestamp>) {
        let changed = engine_image::Entity::update_many()
            .set(engine_image::ActiveModel {
                lock_token: Set(token),
                lock_until: Set(until),
                ..Default::default()
            })
            .filter(engine_image::Column::ImageId.eq(image_id))
            .exec(self.services.db.write())
            .await;
        assert_eq!(changed.unwrap().rows_affected, 1);
    }

    /// A running job's worker counts as vanished from now on.
    pub(crate) async fn let_lease_lapse(&self, job: Uuid) {
        let changed = job::Entity::update_many()
            .set(job::ActiveModel {
                lease_until: Set(Some(Timestamp::from_micros(0))),
                ..Default::default()
            })
            .filter(job::Column::Id.eq(job))
            .filter(job::Column::State.eq(JobState::Running))
            .exec(self.services.db.write())
            .await;
        assert_eq!(changed.unwrap().rows_affected, 1);
    }

    /// Waits until a job is in a state.
    pub(crate) async fn reaches(&self, id: Uuid, state: JobState) -> job::Model {
        eventually(&format!("job {id} is {state:?}"), || async {
            Some(self.job(id).await).filter(|job| job.state == state)
        })
        .await
    }

    /// Waits until a holding is in a state.
    pub(crate) async fn becomes(&self, image: Uuid, state: ImageState) -> image::Model {
        eventually(&format!("image {image} is {state:?}"), || async {
            Some(self.image(image).await).filter(|image| image.state == state)
        })
        .await
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

/// Checks the invariants all the time, not only when all is quiet.
fn audit(services: &Services) -> Background {
    let db = services.db.clone();
    Background::start(|stop| async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            check_invariants(&db).await;
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

//! The real thing: a database, a dispatcher, a worker on each host, and in place of engines and registry their stand-ins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use uuid::Uuid;
use wharfinger_entity::{Credits, JobState, Role, job};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::dispatch;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::infra::db::Db;
use wharfinger_jobs::live::events::{Events, Topic};
use wharfinger_jobs::live::notify::Change;
use wharfinger_jobs::maintenance;
use wharfinger_jobs::pull_image::PullImage;
use wharfinger_jobs::queue::{JobQueue, MemoryQueue};
use wharfinger_jobs::registry::{RegistryClient, Timeouts};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::worker::Worker;

use super::scene::{ADMIN, HOSTS, IMAGES, OPERATORS_NAME, TAGS, USERS, image, settings};
use crate::support::background::Background;
use crate::support::process::rules;
use crate::support::rows;
use crate::support::stand_in::{Engine, Registry};

/// How long anything may take before the sequence has failed.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long nothing may happen before time is moved on: a message that the queue lost is looked for only then.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How far.
const MOVE: Duration = Duration::from_secs(3);

/// How soon is looked again where no event tells.
const LOOK: Duration = Duration::from_millis(1);

/// A world of a sequence's own; in a database that others may have used before.
pub(crate) struct World {
    pub(crate) services: Services,
    pub(crate) registry: Registry,
    pub(crate) users: Vec<Uuid>,
    pub(crate) hosts: Vec<Host>,
    /// What each manifest digest is: the number of its image, and the edition.
    pub(crate) editions: HashMap<String, (usize, u32)>,
    client: RegistryClient,
    /// The dispatcher and the housekeeping.
    background: [Background; 2],
}

/// A host.
pub(crate) struct Host {
    pub(crate) id: Uuid,
    pub(crate) engine: Engine,
    /// Whether its queue is paused: its worker is there, and begins nothing.
    pub(crate) held_up: bool,
    pub(crate) name: String,
    services: Services,
    worker: Option<Background>,
    /// How many attempts its worker runs.
    attempts: Box<dyn Fn() -> usize + Send + Sync>,
}

impl World {
    /// Builds it.
    pub(crate) async fn build(db: Db) -> Self {
        // Ids are made by the system's clock: what they are compared with must not be ahead of it.
        let start = Clock::system().now().before(Duration::from_hours(24 * 30));
        let services = Services::new(
            db,
            JobQueue::Memory(MemoryQueue::new()),
            Events::local(),
            Arc::new(settings(1)),
            Arc::new(rules()),
            Clock::manual(start),
        );
        let registry = Registry::start().await;
        let mut users = Vec::new();
        for (number, credits) in USERS.into_iter().enumerate() {
            let role = if number == ADMIN {
                Role::Admin
            } else {
                Role::User
            };
            let credits = Credits::from_micro(credits);
            users.push(rows::user(&services, role, credits).await);
        }
        let (dispatching, keeping) = (services.clone(), services.clone());
        let mut world = Self {
            client: RegistryClient::new(rules(), Timeouts::default()),
            background: [
                Background::start(|stop| dispatch::run(dispatching, None, stop)),
                Background::start(|stop| maintenance::run(keeping, stop)),
            ],
            hosts: Vec::new(),
            editions: HashMap::new(),
            services,
            registry,
            users,
        };
        for concurrency in HOSTS {
            let mut services = world.services.clone();
            services.settings = Arc::new(settings(concurrency));
            world.hosts.push(Host {
                id: Uuid::nil(),
                engine: Engine::start(&world.registry).await,
                held_up: false,
                name: format!("host-{}", Uuid::new_v4().simple()),
                services,
                worker: None,
                attempts: Box::new(|| 0),
            });
        }
        for host in 0..HOSTS.len() {
            world.start_worker(host).await;
        }
        world
    }

    /// Ends it.
    pub(crate) async fn end(mut self) {
        for host in 0..self.hosts.len() {
            self.stop_worker(host).await;
        }
        for running in self.background {
            running.stop().await;
        }
    }

    /// Joins the fleet with the worker of a host, which compares engine and database at once.
    pub(crate) async fn start_worker(&mut self, host: usize) {
        let client = self.client.clone();
        let host = &mut self.hosts[host];
        let engine = wharfinger_jobs::engine::Engine::connect(Some(&host.engine.url)).unwrap();
        let worker = Worker::join(host.services.clone(), engine, client, &host.name).await;
        let worker = worker.unwrap();
        host.id = worker.host_id();
        host.attempts = Box::new(worker.attempts());
        host.worker = Some(Background::start(|stop| worker.run(stop)));
    }

    /// Stops the worker of a host in an orderly way.
    pub(crate) async fn stop_worker(&mut self, host: usize) {
        if let Some(worker) = self.hosts[host].worker.take() {
            worker.stop().await;
        }
    }

    /// A tag's reference in full.
    pub(crate) fn reference(&self, tag: usize) -> String {
        let (repository, tag) = TAGS[tag];
        format!("{}/{repository}:{tag}", self.registry.address)
    }

    /// A user's request for a tag on a host, without a key.
    pub(crate) fn request(&self, user: usize, host: usize, tag: usize) -> PullImage {
        let host = Some(self.hosts[host].id);
        rows::pull_image(self.users[user], host, &self.reference(tag))
    }

    /// The number of a host.
    pub(crate) fn host_of(&self, id: Uuid) -> usize {
        let host = self.hosts.iter().position(|host| host.id == id);
        host.expect("a host of this world")
    }

    /// The administrator, as mutations name them.
    pub(crate) fn administrator(&self) -> Actor {
        Actor::User(self.users[ADMIN], "administrator".into())
    }

    /// The number of the tag that a reference names.
    pub(crate) fn tag_of(&self, reference: &str) -> Option<usize> {
        (0..TAGS.len()).find(|tag| self.reference(*tag) == reference)
    }

    /// Makes a tag of the registry mean an image.
    pub(crate) fn push(&mut self, tag: usize, number: usize, edition: u32) {
        let (repository, name) = TAGS[tag];
        let digest = self
            .registry
            .push(repository, name, &image(number), edition);
        self.editions.insert(digest, (number, edition));
    }

    /// Waits until every job ended that a worker may run, and every worker has nothing left to do of them.
    pub(crate) async fn settled(&self) -> Result<(), String> {
        let mut changes = self.services.events.subscribe(Topic::AllJobs);
        let mut looks = tokio::time::Instant::now();
        let settling = async {
            while !self.is_settled().await {
                let _ = tokio::time::timeout(LOOK, changes.next()).await;
                if looks.elapsed() > PATIENCE {
                    looks = tokio::time::Instant::now();
                    self.services.clock.advance(MOVE);
                    self.wake();
                }
            }
        };
        let settled = tokio::time::timeout(DEADLINE, settling).await;
        settled.map_err(|_| format!("jobs have not ended within {DEADLINE:?}"))
    }

    /// Wakes the dispatcher, as an announced change does.
    pub(crate) fn wake(&self) {
        let change = Change {
            job_id: Uuid::nil(),
            user_id: Uuid::nil(),
            host_id: None,
            kind: wharfinger_entity::JobKind::PullImage,
            state: JobState::Queued,
            cancel_requested: false,
        };
        let payload = serde_json::to_vec(&change).unwrap();
        self.services.events.publish(Topic::AllJobs, payload);
    }

    async fn is_settled(&self) -> bool {
        let works = |host: &&Host| host.worker.is_some() && !host.held_up;
        let working = self.hosts.iter().filter(works);
        let live = job::Entity::find()
            .filter(job::Column::HostId.is_in(working.clone().map(|host| host.id)))
            .filter(job::Column::Live.eq(1))
            .count(self.services.db.read())
            .await
            .unwrap();
        live == 0 && working.clone().all(|host| (host.attempts)() == 0)
    }
}

/// The number of the image of this id.
pub(crate) fn number_of(id: &str) -> Option<usize> {
    (0..IMAGES.len()).find(|number| image(*number).id == id)
}

/// The operator's own name for an image.
pub(crate) fn operators_name(number: usize) -> String {
    format!("{OPERATORS_NAME}:{number}")
}

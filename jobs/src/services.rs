//! The shared parts of a process: database, queue, events, settings, clock.

#[cfg(test)]
pub(crate) mod test_services;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;
use sea_orm::sea_query::Expr;
use wharfinger_entity::{JobState, job};

use crate::infra::clock::Clock;
use crate::infra::db::Db;
use crate::infra::in_flight::InFlight;
use crate::infra::keyring::Keyring;
use crate::infra::metrics;
use crate::infra::password_hashing::Passwords;
use crate::infra::tasks::Tasks;
use crate::ledger::Balance;
use crate::live::events::Events;
use crate::live::notify::{self, Change};
use crate::live::progress_event::ProgressEvent;
use crate::live::wake::Wake;
use crate::queue::JobQueue;
use crate::registry::RegistryRules;
use crate::settings::Settings;

/// The shared parts: cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// The truth.
    pub db: Db,
    /// How work reaches a worker at once.
    pub queue: JobQueue,
    /// How changes reach watchers at once.
    pub events: Events,
    /// The settings that the jobs crate knows.
    pub settings: Arc<Settings>,
    /// Which registries may be used.
    pub rules: Arc<RegistryRules>,
    /// The time.
    pub clock: Clock,
    /// The keys that stored logins are encrypted with; none where no key is set.
    pub(crate) keys: Option<Arc<Keyring>>,
    /// Hashes passwords, a bounded number at a time.
    pub passwords: Passwords,
    /// Notes when tokens were used.
    pub(crate) last_use: InFlight,
    /// The worker that these are the parts of; none where it is a gateway's.
    pub(crate) worker: Option<Arc<str>>,
    /// Wakes this process's dispatcher.
    pub(crate) wake: Arc<Wake>,
    /// The long-lived tasks of this process.
    pub tasks: Tasks,
}

impl Services {
    /// Puts the parts together.
    pub fn new(
        db: Db,
        queue: JobQueue,
        events: Events,
        settings: Arc<Settings>,
        rules: Arc<RegistryRules>,
        clock: Clock,
    ) -> Self {
        let tasks = events.tasks().clone();
        Self {
            db,
            queue,
            events,
            settings,
            rules,
            clock,
            keys: None,
            passwords: Passwords::default(),
            last_use: InFlight::default(),
            worker: None,
            wake: Arc::default(),
            tasks,
        }
    }

    /// The same with keys for stored logins. Without, no logins can be saved or used.
    #[must_use]
    pub fn with_keys(mut self, keys: Option<Arc<Keyring>>) -> Self {
        self.keys = keys;
        self
    }

    /// The same with the connections for requests: none of their statements takes long.
    #[must_use]
    pub fn for_requests(&self) -> Self {
        Self {
            db: self.db.for_requests(),
            ..self.clone()
        }
    }

    /// Notifies watchers that a job changed, and the dispatcher: it has something to do unless the job began to run.
    /// Call it after the commit.
    pub(crate) fn announce(&self, job: &job::Model, balance: Option<Balance>) {
        // The dispatcher first: a user waits for it.
        if let Some(host) = job.host_id {
            if job.state == JobState::Cancelled {
                self.wake.taken(host);
            }
            if job.state != JobState::Running {
                self.wake.host(host);
            }
        }
        metrics::job_changed(job);
        notify::job_changed(&self.events, &Change::of(job), balance.is_some());
        notify::progress(&self.events, job.id, &ProgressEvent::of(job));
    }

    /// The instant `later` from now by the database's clock, as part of a statement. Every lease is written and judged by it.
    pub(crate) fn database_time(&self, later: Duration) -> Expr {
        self.db.time(&self.clock, later)
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<(), DbErr> {
        self.db.ping().await
    }
}

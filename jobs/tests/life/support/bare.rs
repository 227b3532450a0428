//! A database with users and hosts, and nobody who works there.

use std::sync::Arc;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use uuid::Uuid;
use wharfinger_entity::{JobState, Role, Timestamp, host, image, job};
use wharfinger_jobs::error::UserError;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::services::Services;
use wharfinger_jobs::settings::Settings;
use wharfinger_jobs::{maintenance, pull_image};

use super::background::Background;
use super::database::TestDatabase;
use super::process::{Link, services};
use super::{Shape, credits, eventually, rejected, rows, settings};

pub(crate) use super::rows::LATER;

/// Services over an empty database.
pub(crate) struct Bare {
    pub(crate) services: Services,
    pub(crate) database: TestDatabase,
}

impl Bare {
    /// With the usual settings.
    pub(crate) async fn start(shape: Shape) -> Self {
        Self::with(shape, |_| ()).await
    }

    /// With other settings.
    pub(crate) async fn with(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let database = TestDatabase::create(shape).await;
        let services = services(&database.url, &Link::memory(), &settings).await;
        services.db.migrate().await.unwrap();
        Self { services, database }
    }

    /// The same with other settings from now on.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Settings)) {
        change(Arc::make_mut(&mut self.services.settings));
    }

    /// The same with a clock that stands still.
    pub(crate) fn stop_clock(&mut self) {
        self.services.clock = Clock::manual(self.services.clock.now());
    }

    /// The parts of one more process, with connections of its own.
    pub(crate) async fn process(&self) -> Services {
        let settings = &self.services.settings;
        services(&self.database.url, &Link::memory(), settings).await
    }

    /// A host that is online, takes jobs, runs one at a time and has 1 GB of 10 GB free, unless changed.
    pub(crate) async fn host(&self, change: impl FnOnce(&mut host::ActiveModel)) -> Uuid {
        rows::host(&self.services, change).await
    }

    /// Changes a host.
    pub(crate) async fn change_host(&self, id: Uuid, change: impl FnOnce(&mut host::ActiveModel)) {
        let mut host = host::ActiveModel {
            id: Set(id),
            ..Default::default()
        };
        change(&mut host);
        host.update(self.services.db.write()).await.unwrap();
    }

    /// A user with credits enough.
    pub(crate) async fn user(&self) -> Uuid {
        rows::user(&self.services, Role::User, credits("1000")).await
    }

    /// Asks for an image, on a host or wherever.
    pub(crate) async fn try_pull(
        &self,
        user_id: Uuid,
        host: Option<Uuid>,
        reference: &str,
    ) -> Result<job::Model, UserError> {
        let request = rows::pull_image(user_id, host, reference);
        rejected(pull_image::accept(&self.services, &request).await)
    }

    /// Asks for an image and is accepted.
    pub(crate) async fn pull(&self, user: Uuid, host: Option<Uuid>, reference: &str) -> job::Model {
        self.try_pull(user, host, reference).await.unwrap()
    }

    /// Where a pull of this user is placed.
    pub(crate) async fn placed(&self, user: Uuid, reference: &str) -> Uuid {
        self.pull(user, None, reference).await.host_id.unwrap()
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

    /// Waits until a job is in a state.
    pub(crate) async fn reaches(&self, id: Uuid, state: JobState) -> job::Model {
        eventually(&format!("job {id} is {state:?}"), || async {
            Some(self.job(id).await).filter(|job| job.state == state)
        })
        .await
    }

    /// Has a worker run a job, which renews no lease.
    pub(crate) async fn runs(&self, job: Uuid, lease_until: Timestamp) {
        let running = job::ActiveModel {
            id: Set(job),
            state: Set(JobState::Running),
            attempt: Set(1),
            worker: Set(Some("another".to_owned())),
            lease_until: Set(Some(lease_until)),
            dispatched_at: Set(None),
            ..Default::default()
        };
        running.update(self.services.db.write()).await.unwrap();
    }

    /// One more process, which keeps house.
    pub(crate) async fn housekeeping(&self) -> Background {
        let services = self.process().await;
        Background::start(|stop| maintenance::run(services, stop))
    }

    /// Has somebody, or everybody, hold an image on a host.
    pub(crate) async fn hold(&self, host_id: Uuid, holder: Option<Uuid>, reference: &str) -> Uuid {
        rows::hold(&self.services, host_id, holder, reference).await
    }
}

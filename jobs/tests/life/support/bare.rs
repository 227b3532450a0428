//! A database with users and hosts, and nobody who works there.

use std::sync::Arc;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{
    Credits, EngineImageStatus, ExposedPorts, ImageState, ImageVisibility, Role, engine_image,
    host, image, job,
};
use wharfinger_jobs::accounts::{NewUser, create_user};
use wharfinger_jobs::error::{ServiceError, UserError};
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::pull_image::{self, PullImage};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::settings::Settings;

use super::database::TestDatabase;
use super::process::{Link, services};
use super::{Shape, settings};

/// An instant that is not past while the test runs.
pub(crate) const LATER: std::time::Duration = std::time::Duration::from_hours(1);

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
        let now = self.services.clock.now();
        let id = Uuid::now_v7();
        let mut host = host::ActiveModel {
            id: Set(id),
            name: Set(format!("host-{}", id.simple())),
            schedulable: Set(true),
            engine_version: Set(None),
            platform: Set(None),
            labels: Set(json!({})),
            storage_used: Set(Some(9_000_000_000)),
            storage_total: Set(Some(10_000_000_000)),
            concurrency: Set(1),
            created_at: Set(now),
            last_seen_at: Set(Some(now.after(2 * LATER))),
        };
        change(&mut host);
        host.insert(self.services.db.write()).await.unwrap().id
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
        let new = NewUser {
            name: format!("u{}", Uuid::new_v4().simple()),
            role: Role::User,
            password_hash: None,
            credits: "1000".parse().unwrap(),
        };
        let now = self.services.clock.now();
        create_user(&self.services.db, &new, now).await.unwrap().id
    }

    /// Asks for an image, on a host or wherever.
    pub(crate) async fn try_pull(
        &self,
        user_id: Uuid,
        host: Option<Uuid>,
        reference: &str,
    ) -> Result<job::Model, UserError> {
        let request = PullImage {
            user_id,
            reference: reference.to_owned(),
            host,
            idempotency_key: None,
            traceparent: None,
        };
        match pull_image::accept(&self.services, &request).await {
            Ok(job) => Ok(job),
            Err(ServiceError::Rejected(error)) => Err(error),
            Err(error) => panic!("{error:?}"),
        }
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

    /// Has somebody, or everybody, hold an image on a host.
    pub(crate) async fn hold(&self, host_id: Uuid, holder: Option<Uuid>, reference: &str) -> Uuid {
        let now = self.services.clock.now();
        let db = self.services.db.write();
        let on_engine = engine_image::ActiveModel {
            id: Set(Uuid::now_v7()),
            host_id: Set(host_id),
            image_id: Set(format!("sha256:{}", Uuid::new_v4().simple())),
            status: Set(EngineImageStatus::Present),
            brought: Set(true),
            size: Set(1),
            platform: Set("linux/amd64".into()),
            exposed_ports: Set(ExposedPorts::default()),
            version: Set(0),
            lock_token: Set(None),
            lock_holder: Set(None),
            lock_until: Set(None),
            created_at: Set(now),
        };
        let on_engine = on_engine.insert(db).await.unwrap();
        let visibility = match holder {
            Some(_) => ImageVisibility::Private,
            None => ImageVisibility::Public,
        };
        let holding = image::ActiveModel {
            id: Set(Uuid::now_v7()),
            user_id: Set(holder),
            holder: Set(holder.unwrap_or_default()),
            host_id: Set(host_id),
            engine_image_id: Set(on_engine.id),
            reference: Set(reference.to_owned()),
            digest: Set(None),
            visibility: Set(visibility),
            state: Set(ImageState::Held),
            charge: Set(Credits::ZERO),
            size: Set(on_engine.size),
            pulled_at: Set(now),
            released_at: Set(None),
            live: Set(Some(1)),
        };
        holding.insert(db).await.unwrap().id
    }
}

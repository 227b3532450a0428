//! What users and administrators of a fleet ask for.

use uuid::Uuid;
use wharfinger_entity::{ImageVisibility, Role, image, job};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::set_image_visibility::set_image_visibility;
use wharfinger_jobs::error::UserError;
use wharfinger_jobs::pull_image;
use wharfinger_jobs::remove_image::{self, RemoveImage};

use super::super::images::{Repository, random_image};
use super::super::proxy::Proxy;
use super::super::{rejected, rows};
use super::Fleet;

/// A pull that is stuck in the middle of its layer.
pub(crate) struct StuckPull {
    pub(crate) proxy: Proxy,
    pub(crate) repository: Repository,
    /// The image id.
    pub(crate) id: String,
    pub(crate) user: Uuid,
    pub(crate) job: Uuid,
}

impl Fleet {
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
        rows::user(&self.services, role, credits.parse().unwrap()).await
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
}

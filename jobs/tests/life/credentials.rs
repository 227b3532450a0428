//! Logins at private registries.

use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState, job};
use wharfinger_jobs::error::UserErrorCode;
use wharfinger_jobs::registry_credentials::{
    SaveRegistryCredential, delete_registry_credential, save_registry_credential,
};
use wharfinger_jobs::settings::Secret;
use wharfinger_jobs::testing::registry::{PASSWORD, PushedImage, TestRegistry, USERNAME};

use crate::support::images::{Repository, random_image};
use crate::support::proxy::Proxy;
use crate::support::{Fleet, Shape, on_every_shape, refusal};

on_every_shape!(
    a_private_image_is_for_those_with_a_login,
    nobody_joins_the_transfer_of_an_image_that_is_not_theirs,
    a_login_that_was_deleted_is_not_used,
    a_login_is_shown_to_its_registry_only_and_for_private_images_only,
);

pub(crate) fn login(user_id: Uuid, registry: &str, secret: &str) -> SaveRegistryCredential {
    SaveRegistryCredential {
        user_id,
        registry: registry.to_owned(),
        username: USERNAME.to_owned(),
        secret: Secret::new(secret),
    }
}

async fn save(fleet: &Fleet, user: Uuid, registry: &str, secret: &str) -> Uuid {
    save_registry_credential(&fleet.services, &login(user, registry, secret))
        .await
        .unwrap()
        .id
}

async fn delete(fleet: &Fleet, user: Uuid, id: Uuid) {
    let deleted = delete_registry_credential(&fleet.services, user, Some(id));
    deleted.await.unwrap();
}

async fn denied(fleet: &Fleet, user: Uuid, reference: &str) -> job::Model {
    let job = fleet.pull(user, reference).await;
    fleet.fails(job.id, JobErrorCode::RegistryDenied).await
}

/// A registry with a password, a way to it, and a repository of it with an image, reached by that way.
async fn private() -> (TestRegistry, Proxy, Repository, PushedImage) {
    let registry = TestRegistry::with_password();
    let (proxy, repository, pushed) = way_to(&registry).await;
    (registry, proxy, repository, pushed)
}

async fn way_to(registry: &TestRegistry) -> (Proxy, Repository, PushedImage) {
    let proxy = Proxy::start(&registry.address).await;
    let repository = Repository::at(&proxy.address);
    let image = random_image(400_000);
    let pushed = registry.push(&repository.name, "1", &image).await;
    (proxy, repository, pushed)
}

async fn a_private_image_is_for_those_with_a_login(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let (_registry, proxy, repository, pushed) = private().await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    let reference = repository.tag("1");
    denied(&fleet, ada, &reference).await;

    save(&fleet, ada, &proxy.address, "a mistake").await;
    let wrong = denied(&fleet, ada, &reference).await;
    assert!(!wrong.error_message.unwrap().contains("mistake"));
    save(&fleet, ada, &proxy.address, PASSWORD).await;
    let image = fleet.pulled(ada, &reference).await;
    assert_eq!(image.digest.as_deref(), Some(pushed.digest.as_str()));
    assert!(fleet.engine.inspect(&pushed.config_digest).await.is_some());

    // It is there, and still nobody else's: by its tag, by its digest, or with a login elsewhere.
    let by_digest = format!("{}@{}", repository.full_name(), pushed.digest);
    denied(&fleet, bob, &reference).await;
    denied(&fleet, bob, &by_digest).await;
    save(&fleet, bob, "127.0.0.1:1", PASSWORD).await;
    denied(&fleet, bob, &reference).await;
    save(&fleet, bob, &proxy.address, PASSWORD).await;
    fleet.pulled(bob, &by_digest).await;
    fleet.finish().await;
}

async fn nobody_joins_the_transfer_of_an_image_that_is_not_theirs(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let (_registry, proxy, repository, _) = private().await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    let eve = fleet.user("100").await;
    for user in [ada, bob] {
        save(&fleet, user, &proxy.address, PASSWORD).await;
    }
    proxy.block();
    let of_ada = fleet.pull(ada, &repository.tag("1")).await.id;
    proxy.stuck().await;
    denied(&fleet, eve, &repository.tag("1")).await;
    assert_eq!(fleet.job(of_ada).await.state, JobState::Running);
    // Bob may, and waits for the same bytes.
    let of_bob = fleet.pull(bob, &repository.tag("1")).await.id;
    fleet.downloads(of_bob).await;
    proxy.open();
    for id in [of_ada, of_bob] {
        fleet.succeeds(id).await;
    }
    assert_eq!(proxy.layers(), 1);
    fleet.finish().await;
}

async fn a_login_that_was_deleted_is_not_used(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    fleet.stop_worker().await;
    let (_registry, proxy, repository, _) = private().await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    let id = save(&fleet, ada, &proxy.address, PASSWORD).await;
    let job = fleet.pull(ada, &repository.tag("1")).await;
    for stranger in [Some(id), None] {
        let unknown = delete_registry_credential(&fleet.services, bob, stranger).await;
        assert_eq!(refusal(unknown).code, UserErrorCode::NotFound);
    }
    delete(&fleet, ada, id).await;
    let again = delete_registry_credential(&fleet.services, ada, Some(id)).await;
    assert_eq!(refusal(again).code, UserErrorCode::NotFound);
    fleet.start_worker().await;
    fleet.fails(job.id, JobErrorCode::RegistryDenied).await;
    fleet.finish().await;
}

/// Whether the registry, asked by the worker or by the engine, is shown anything.
async fn a_login_is_shown_to_its_registry_only_and_for_private_images_only(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let closed = TestRegistry::with_password();
    save(&fleet, user, &closed.address, PASSWORD).await;

    // A registry that it is not for.
    let (other, repository, _) = way_to(&closed).await;
    denied(&fleet, user, &repository.tag("1")).await;
    assert!(other.requests() > 0);
    assert_eq!(other.authorizations(), Vec::<String>::new());

    // A registry that it is for, and that gives the image to everybody.
    let (open, repository) = fleet.behind_proxy().await;
    fleet.push(&repository, "1", 100_000).await;
    save(&fleet, user, &open.address, PASSWORD).await;
    fleet.pulled(user, &repository.tag("1")).await;
    assert!(open.requests() > 2, "the worker and the engine have asked");
    assert_eq!(open.authorizations(), Vec::<String>::new());

    // And where it is needed, both show it.
    let (mine, repository, _) = way_to(&closed).await;
    save(&fleet, user, &mine.address, PASSWORD).await;
    fleet.pulled(user, &repository.tag("1")).await;
    assert!(mine.authorizations().len() > 1, "{:?}", mine.lines());
    fleet.finish().await;
}

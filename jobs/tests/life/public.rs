//! Public images: published, used, refreshed, removed.

use uuid::Uuid;
use wharfinger_entity::{
    AuditAction, Credits, ImageState, ImageVisibility, JobErrorCode, JobState, LedgerEntryKind,
    image,
};
use wharfinger_jobs::commands::retry_job::retry_job;
use wharfinger_jobs::error::UserErrorCode;

use crate::administration::audited;
use crate::support::engine_gate::Hold;
use crate::support::images::random_image;
use crate::support::{Fleet, Shape, credits, on_every_shape, refusal};

on_every_shape!(
    publishing_refunds_every_holder_once,
    queued_removals_of_a_published_image_succeed,
    a_running_removal_of_a_published_image_succeeds,
    a_failed_removal_of_a_published_image_is_not_tried_again,
    a_running_pull_of_a_published_image_is_free,
    a_queued_pull_of_what_became_public_asks_nobody,
    a_public_image_is_pulled_at_once_and_for_nothing,
    another_name_of_a_public_image_costs_nothing,
    an_administrator_refreshes_a_public_image,
    a_refresh_that_finds_nothing_new_changes_nothing,
    only_an_administrator_removes_a_public_image,
    a_pull_of_a_public_reference_lets_go_of_what_it_meant_before,
    publishing_leaves_other_images_of_the_tag_alone,
    a_public_image_that_the_engine_lost_is_lost,
);

/// The kinds of a user's ledger, oldest first.
async fn kinds(fleet: &Fleet, user: Uuid) -> Vec<LedgerEntryKind> {
    let entries = fleet.ledger(user).await;
    entries.iter().map(|entry| entry.kind).collect()
}

/// The administrative acts, oldest first.
async fn acts(fleet: &Fleet) -> Vec<AuditAction> {
    let entries = audited(fleet).await;
    entries.iter().map(|entry| entry.action).collect()
}

/// Two users with a hundred credits, and an administrator.
async fn people(fleet: &Fleet) -> [Uuid; 3] {
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    [ada, bob, fleet.admin().await]
}

async fn total(fleet: &Fleet, user: Uuid) -> Credits {
    fleet.account(user).await.total
}

async fn publishing_refunds_every_holder_once(shape: Shape) {
    use LedgerEntryKind::{Charge, Grant, Refund};
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push_under(&repository, &["1", "2"], 100_000).await;
    let [ada, bob, eve] = people(&fleet).await;
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    let bobs = [
        fleet.pulled(bob, &repository.tag("1")).await,
        fleet.pulled(bob, &repository.tag("2")).await,
    ];

    let public = fleet.published(eve, adas.id).await;
    assert_eq!(public.visibility, ImageVisibility::Public);
    assert_eq!(public.state, ImageState::Held);
    assert_eq!(public.charge, Credits::ZERO);
    assert_eq!(public.reference, repository.tag("1"));
    assert_eq!(public.digest, adas.digest);
    let private = [adas.id, bobs[0].id, bobs[1].id];
    for private in private {
        assert_eq!(fleet.image(private).await.state, ImageState::Released);
    }
    for named in private.into_iter().chain([public.id]) {
        // Whichever is named, it covers the image id: nothing changes any more.
        assert_eq!(fleet.published(eve, named).await, public);
        let private_again = fleet.set_visibility(eve, named, ImageVisibility::Private);
        let refused = private_again.await.unwrap_err();
        assert_eq!(refused.code, UserErrorCode::NotRemovable);
    }
    for user in [ada, bob] {
        assert_eq!(total(&fleet, user).await, credits("100"));
        assert_eq!(kinds(&fleet, user).await, [Grant, Charge, Refund]);
        let refund = &fleet.ledger(user).await[2];
        assert_eq!(refund.reason.as_deref(), Some("the image became public"));
        assert_eq!(fleet.holdings(user).await, []);
    }
    assert_eq!(fleet.holdings(Uuid::nil()).await, [public]);
    assert_eq!(acts(&fleet).await, [AuditAction::SetImageVisibility]);
    assert_eq!(fleet.engine.id_of(&repository.tag("1")).await, Some(id));
    let unknown = fleet.set_visibility(eve, Uuid::new_v4(), ImageVisibility::Public);
    let unknown = unknown.await.unwrap_err();
    assert_eq!(unknown.code, UserErrorCode::ImageNotFound);
    fleet.finish().await;
}

async fn queued_removals_of_a_published_image_succeed(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let [ada, bob, eve] = people(&fleet).await;
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    let bobs = fleet.pulled(bob, &repository.tag("1")).await;
    fleet.stop_worker().await;
    let queued = [
        fleet.try_remove(ada, adas.id).await.unwrap(),
        fleet.try_remove(bob, bobs.id).await.unwrap(),
    ];
    fleet.published(eve, adas.id).await;
    for removal in queued {
        // There is no worker: it is publishing that ended them.
        let removal = fleet.job(removal.id).await;
        assert_eq!((removal.state, removal.attempt), (JobState::Succeeded, 0));
        assert_eq!(total(&fleet, removal.user_id).await, credits("100"));
        assert_eq!(fleet.ledger(removal.user_id).await.len(), 3);
    }
    fleet.start_worker().await;
    // What runs after them finds the image where it was.
    let carol = fleet.user("0").await;
    let job = fleet.pull(carol, &repository.tag("1")).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(fleet.engine.id_of(&repository.tag("1")).await, Some(id));
    fleet.finish().await;
}

/// Its worker waits for somebody else's change of the image.
async fn a_running_removal_of_a_published_image_succeeds(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let (ada, eve) = (fleet.user("100").await, fleet.admin().await);
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    fleet.lock_image(&id).await;
    let removal = fleet.try_remove(ada, adas.id).await.unwrap();
    fleet.reaches(removal.id, JobState::Running).await;
    // Publishing waits too; either may be first.
    let publishing = fleet.set_visibility(eve, adas.id, ImageVisibility::Public);
    let (published, ()) = tokio::join!(publishing, fleet.unlock_image(&id));
    fleet.succeeds(removal.id).await;
    assert_eq!(total(&fleet, ada).await, credits("100"));
    assert_eq!(fleet.ledger(ada).await.len(), 3);
    match published {
        Ok(public) => {
            assert_eq!(fleet.holdings(Uuid::nil()).await, [public]);
            assert_eq!(fleet.engine.id_of(&repository.tag("1")).await, Some(id));
        }
        Err(error) => {
            assert_eq!(error.code, UserErrorCode::ImageNotFound);
            assert_eq!(fleet.engine.inspect(&id).await, None);
        }
    }
    fleet.finish().await;
}

async fn a_failed_removal_of_a_published_image_is_not_tried_again(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let (ada, eve) = (fleet.user("100").await, fleet.admin().await);
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    let container = fleet.engine.create_container(&id).await;
    let removal = fleet.try_remove(ada, adas.id).await.unwrap();
    let removal = fleet.ended(removal.id).await;
    assert_eq!(removal.error_code, Some(JobErrorCode::ImageInUse));
    let public = fleet.published(eve, adas.id).await;
    fleet.engine.remove_container(&container).await;
    let again = retry_job(&fleet.services, ada, Some(ada), Some(removal.id), None).await;
    assert_eq!(refusal(again).code, UserErrorCode::JobNotRetryable);
    assert_eq!(fleet.holdings(Uuid::nil()).await, [public]);
    fleet.finish().await;
}

async fn a_running_pull_of_a_published_image_is_free(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    fleet.push_under(&repository, &["1", "2"], 1_500_000).await;
    let [ada, bob, eve] = people(&fleet).await;
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    gate.hold(Hold::Pulls);
    let running = fleet.pull(bob, &repository.tag("2")).await;
    gate.holds().await;
    assert!(fleet.job(running.id).await.held > credits("1"));
    let public = fleet.published(eve, adas.id).await;
    gate.open();
    let done = fleet.succeeds(running.id).await;
    assert_eq!(done.image_id, Some(public.id));
    assert_eq!(fleet.ledger(bob).await.len(), 1, "nothing but the grant");
    assert_eq!(fleet.account(bob).await.held, Credits::ZERO);
    assert_eq!(fleet.holdings(bob).await, []);
    fleet.finish().await;
}

/// The tag has moved at the registry meanwhile: a pull that ran would move it here.
async fn a_queued_pull_of_what_became_public_asks_nobody(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let id = fleet.push(&repository, "1", 100_000).await;
    let [ada, bob, eve] = people(&fleet).await;
    let adas = fleet.pulled(ada, &reference).await;
    fleet.stop_worker().await;
    let queued = fleet.pull(bob, &reference).await;
    assert_eq!(queued.state, JobState::Queued);
    let public = fleet.published(eve, adas.id).await;
    let moved = fleet.push(&repository, "1", 100_000).await;
    fleet.start_worker().await;
    let done = fleet.succeeds(queued.id).await;
    assert_eq!((done.image_id, done.held), (Some(public.id), Credits::ZERO));
    assert_eq!(total(&fleet, bob).await, credits("100"));
    assert_eq!(fleet.account(bob).await.held, Credits::ZERO);
    assert_eq!(fleet.engine.id_of(&reference).await, Some(id));
    assert_eq!(fleet.engine.inspect(&moved).await, None);
    fleet.finish().await;
}

async fn a_public_image_is_pulled_at_once_and_for_nothing(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 100_000).await;
    let (ada, eve) = (fleet.user("100").await, fleet.admin().await);
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    let public = fleet.published(eve, adas.id).await;
    // Nobody there who could ask an engine or a registry, and nothing to pay with.
    fleet.stop_worker().await;
    let poor = fleet.user("0").await;
    let job = fleet.pull(poor, &repository.tag("1")).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.image_id, Some(public.id));
    assert_eq!((job.attempt, job.held), (0, Credits::ZERO));
    assert_eq!(fleet.holdings(poor).await, []);
    fleet.finish().await;
}

async fn another_name_of_a_public_image_costs_nothing(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let image = random_image(100_000);
    let id = repository.push(&fleet.registry, "1", &image).await;
    repository.push(&fleet.registry, "2", &image).await;
    let [ada, bob, eve] = people(&fleet).await;
    // What it meant before is let go of, as by any pull that finds a tag moved.
    let other = fleet.push(&repository, "3", 100_000).await;
    let before = fleet.pulled(bob, &repository.tag("3")).await;
    repository.push(&fleet.registry, "3", &image).await;
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    let public = fleet.published(eve, adas.id).await;
    for tag in ["2", "3"] {
        let job = fleet.pull(bob, &repository.tag(tag)).await;
        let job = fleet.succeeds(job.id).await;
        assert_eq!(job.image_id, Some(public.id));
        let means = fleet.engine.id_of(&repository.tag(tag)).await;
        assert_eq!(means.as_ref(), Some(&id));
    }
    assert_eq!(fleet.image(before.id).await.state, ImageState::Released);
    fleet.engine.loses(&other).await;
    assert_eq!(total(&fleet, bob).await, credits("100"));
    assert_eq!(fleet.holdings(bob).await, []);
    // The names go with the image.
    fleet.removed(eve, public.id).await;
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

/// With what private holders have of the new image: it is public then, for them too.
async fn an_administrator_refreshes_a_public_image(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let old_id = fleet.push(&repository, "1", 100_000).await;
    let [ada, bob, eve] = people(&fleet).await;
    let adas = fleet.pulled(ada, &reference).await;
    let old = fleet.published(eve, adas.id).await;

    let newer = random_image(200_000);
    let new_id = repository.push(&fleet.registry, "1", &newer).await;
    repository.push(&fleet.registry, "2", &newer).await;
    let bobs = fleet.pulled(bob, &repository.tag("2")).await;
    assert!(bobs.charge > Credits::ZERO);
    // A user's pull refreshes nothing.
    let at_once = fleet.pull(ada, &reference).await;
    assert_eq!(at_once.image_id, Some(old.id));
    assert_eq!(fleet.engine.id_of(&reference).await, Some(old_id.clone()));

    // Somebody who has no credits at all.
    let refreshed = fleet.pulled(eve, &reference).await;
    assert_eq!(refreshed.visibility, ImageVisibility::Public);
    assert_ne!(refreshed.id, old.id);
    let held = fleet.holdings(Uuid::nil()).await;
    assert_eq!(held, std::slice::from_ref(&refreshed));
    assert_eq!(fleet.image(old.id).await.state, ImageState::Released);
    assert_eq!(fleet.engine.id_of(&reference).await, Some(new_id));
    fleet.engine.loses(&old_id).await;
    assert_eq!(fleet.image(bobs.id).await.state, ImageState::Released);
    for user in [ada, bob] {
        assert_eq!(total(&fleet, user).await, credits("100"));
    }
    assert_eq!(total(&fleet, eve).await, Credits::ZERO);
    let at_once = fleet.pull(bob, &reference).await;
    assert_eq!(at_once.image_id, Some(refreshed.id));
    let refresh = AuditAction::RefreshPublicImage;
    let expected = [AuditAction::SetImageVisibility, refresh];
    assert_eq!(acts(&fleet).await, expected);
    fleet.finish().await;
}

async fn a_refresh_that_finds_nothing_new_changes_nothing(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let mut image = random_image(100_000);
    let id = repository.push(&fleet.registry, "1", &image).await;
    let (ada, eve) = (fleet.user("100").await, fleet.admin().await);
    let adas = fleet.pulled(ada, &reference).await;
    let public = fleet.published(eve, adas.id).await;
    let again = fleet.pulled(eve, &reference).await;
    assert_eq!(again, public);
    // The same image in another manifest: that is noted.
    image.gzip = true;
    assert_eq!(repository.push(&fleet.registry, "1", &image).await, id);
    let again = fleet.pulled(eve, &reference).await;
    assert_ne!(again.digest, public.digest);
    let noted = image::Model {
        digest: again.digest.clone(),
        ..public
    };
    assert_eq!(again, noted);
    assert_eq!(fleet.engine.id_of(&reference).await, Some(id));
    fleet.finish().await;
}

async fn only_an_administrator_removes_a_public_image(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let (ada, eve) = (fleet.user("100").await, fleet.admin().await);
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    let public = fleet.published(eve, adas.id).await;
    for image in [adas.id, public.id] {
        let refused = fleet.try_remove(ada, image).await.unwrap_err();
        assert_eq!(refused.code, UserErrorCode::NotRemovable);
    }
    fleet.removed(eve, public.id).await;
    assert_eq!(fleet.engine.inspect(&id).await, None);
    assert_eq!(fleet.image(public.id).await.state, ImageState::Released);
    assert_eq!(total(&fleet, ada).await, credits("100"));
    assert!(!kinds(&fleet, eve).await.contains(&LedgerEntryKind::Refund));
    let removal = AuditAction::RemovePublicImage;
    let expected = [AuditAction::SetImageVisibility, removal];
    assert_eq!(acts(&fleet).await, expected);
    // Whoever wants it now pays for it, as for any.
    let again = fleet.pulled(ada, &repository.tag("1")).await;
    assert_eq!(again.visibility, ImageVisibility::Private);
    assert!(again.charge > Credits::ZERO);
    fleet.finish().await;
}

/// A tag moved under ada, who kept what she had. What it means now became public.
async fn a_pull_of_a_public_reference_lets_go_of_what_it_meant_before(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let old_id = fleet.push(&repository, "1", 100_000).await;
    let [ada, bob, eve] = people(&fleet).await;
    let adas = fleet.pulled(ada, &reference).await;
    let new_id = fleet.push(&repository, "1", 100_000).await;
    let bobs = fleet.pulled(bob, &reference).await;
    let public = fleet.published(eve, bobs.id).await;
    assert_eq!(fleet.holdings(ada).await, [adas]);

    let at_once = fleet.pull(ada, &reference).await;
    assert_eq!(at_once.state, JobState::Succeeded);
    assert_eq!(at_once.image_id, Some(public.id));
    assert_eq!(fleet.holdings(ada).await, []);
    assert_eq!(total(&fleet, ada).await, credits("100"));
    fleet.engine.loses(&old_id).await;
    assert_eq!(fleet.engine.id_of(&reference).await, Some(new_id));
    fleet.finish().await;
}

async fn publishing_leaves_other_images_of_the_tag_alone(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let old_id = fleet.push(&repository, "1", 100_000).await;
    let [ada, bob, eve] = people(&fleet).await;
    let adas = fleet.pulled(ada, &reference).await;
    fleet.push(&repository, "1", 100_000).await;
    let bobs = fleet.pulled(bob, &reference).await;
    fleet.published(eve, bobs.id).await;
    assert_eq!(fleet.holdings(ada).await, std::slice::from_ref(&adas));
    let (full, left) = (credits("100"), total(&fleet, ada).await);
    assert_eq!(full.checked_sub(left).unwrap(), adas.charge);
    fleet.removed(ada, adas.id).await;
    assert_eq!(total(&fleet, ada).await, full);
    assert_eq!(fleet.engine.inspect(&old_id).await, None);
    fleet.finish().await;
}

async fn a_public_image_that_the_engine_lost_is_lost(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let (ada, eve) = (fleet.user("100").await, fleet.admin().await);
    let adas = fleet.pulled(ada, &repository.tag("1")).await;
    let public = fleet.published(eve, adas.id).await;
    fleet.engine.remove(&id).await;
    fleet.becomes(public.id, ImageState::Lost).await;
    assert_eq!(total(&fleet, ada).await, credits("100"));
    // It is nobody's any more: whoever pulls it pays.
    let job = fleet.pull(ada, &repository.tag("1")).await;
    assert_eq!(job.state, JobState::Queued);
    fleet.succeeds(job.id).await;
    assert!(total(&fleet, ada).await < credits("100"));
    fleet.finish().await;
}

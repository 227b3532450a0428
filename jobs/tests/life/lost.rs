//! What happens on an engine behind Wharfinger's back: images that vanish, and images that were never Wharfinger's.

use std::time::Duration;

use wharfinger_entity::{Credits, ImageState};
use wharfinger_jobs::engine::EngineName;
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::images::{self, ImageFilter, ImageOrder, With};
use wharfinger_jobs::queries::page::PageArgs;
use wharfinger_jobs::testing::image::layer;

use crate::support::engine_gate::Hold;
use crate::support::{Fleet, Shape, credits, eventually, on_every_shape};

on_every_shape!(
    what_an_operator_removes_is_refunded_at_once,
    what_went_while_nobody_listened_is_found,
    an_image_that_an_operator_only_untags_is_kept,
    an_image_deleted_before_the_settle_is_pulled_again,
    a_removal_of_what_is_gone_succeeds,
    an_image_that_an_operator_made_stays_with_its_tags,
    history_is_listed_by_filter,
);

const HOUR: Duration = Duration::from_hours(1);

/// Nothing is found by looking from time to time.
async fn only_listening(shape: Shape) -> Fleet {
    Fleet::with(shape, |settings| settings.reconcile.interval = HOUR).await
}

async fn what_an_operator_removes_is_refunded_at_once(shape: Shape) {
    let fleet = only_listening(shape).await;
    let repository = fleet.repository();
    let mut ids = Vec::new();
    let mut held = Vec::new();
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    for tag in ["1", "2", "3"] {
        ids.push(fleet.push(&repository, tag, 50_000).await);
        held.push(fleet.pulled(ada, &repository.tag(tag)).await);
        held.push(fleet.pulled(bob, &repository.tag(tag)).await);
    }
    for id in &ids {
        fleet.engine.remove(id).await;
    }
    for image in held {
        fleet.becomes(image.id, ImageState::Lost).await;
    }
    for user in [ada, bob] {
        let ledger = fleet.ledger(user).await;
        let reasons = ledger.iter().filter_map(|entry| entry.reason.as_deref());
        let lost = reasons.filter(|reason| *reason == "the engine lost the image");
        assert_eq!(lost.count(), 3, "{ledger:?}");
        assert_eq!(fleet.account(user).await.total, credits("100"));
    }
    // It comes again like any other, and goes again.
    let again = fleet.pulled(ada, &repository.tag("1")).await;
    fleet.removed(ada, again.id).await;
    assert_eq!(fleet.engine.inspect(&ids[0]).await, None);
    fleet.finish().await;
}

async fn what_went_while_nobody_listened_is_found(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |settings| settings.reconcile.interval = HOUR).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 50_000).await;
    let user = fleet.user("100").await;
    let held = fleet.pulled(user, &repository.tag("1")).await;
    gate.cut();
    fleet.engine.remove(&id).await;
    gate.open();
    fleet.becomes(held.id, ImageState::Lost).await;
    // And it listens again.
    let id = fleet.push(&repository, "2", 50_000).await;
    let held = fleet.pulled(user, &repository.tag("2")).await;
    fleet.engine.remove(&id).await;
    fleet.becomes(held.id, ImageState::Lost).await;
    assert_eq!(fleet.account(user).await.total, credits("100"));
    fleet.finish().await;
}

/// What its holder paid for is there, by id. One that goes shows that the name that went before it was heard of.
async fn an_image_that_an_operator_only_untags_is_kept(shape: Shape) {
    let fleet = only_listening(shape).await;
    let repository = fleet.repository();
    let kept_id = fleet.push(&repository, "1", 50_000).await;
    let gone_id = fleet.push(&repository, "2", 50_000).await;
    let user = fleet.user("100").await;
    let kept = fleet.pulled(user, &repository.tag("1")).await;
    let gone = fleet.pulled(user, &repository.tag("2")).await;
    let name = repository.full_name();
    fleet.engine.tag(&kept_id, &name, "mine").await;
    fleet.engine.remove(&repository.tag("1")).await;
    fleet.engine.remove(&gone_id).await;
    fleet.becomes(gone.id, ImageState::Lost).await;
    assert_eq!(fleet.image(kept.id).await.state, ImageState::Held);
    fleet.removed(user, kept.id).await;
    assert_eq!(fleet.account(user).await.total, credits("100"));
    // The name that the operator gave it keeps it.
    let kept = fleet.engine.id_of(&repository.tag("mine")).await;
    assert_eq!(kept, Some(kept_id));
    fleet.finish().await;
}

async fn an_image_deleted_before_the_settle_is_pulled_again(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    gate.hold(Hold::Pulls);
    let job = fleet.pull(user, &repository.tag("1")).await;
    gate.holds().await;
    // Recorded, and not settled before it is unlocked.
    fleet.lock_image(&id).await;
    gate.open();
    eventually("the engine has it", || fleet.engine.id_of(&id)).await;
    fleet.engine.remove(&id).await;
    fleet.unlock_image(&id).await;
    fleet.succeeds(job.id).await;
    assert_eq!(fleet.engine.id_of(&repository.tag("1")).await, Some(id));
    fleet.finish().await;
}

async fn a_removal_of_what_is_gone_succeeds(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    fleet.stop_worker().await;
    let removal = fleet.try_remove(user, image.id).await.unwrap();
    fleet.engine.remove(&id).await;
    fleet.start_worker().await;
    fleet.succeeds(removal.id).await;
    // Whoever saw first that it is gone gave it back, and nobody a second time.
    assert_eq!(fleet.account(user).await.total, credits("100"));
    assert_eq!(fleet.ledger(user).await.len(), 3);
    fleet.finish().await;
}

/// `docker import`, `docker tag` and `docker push`: the engine had it, under several names, before anybody asked.
async fn an_image_that_an_operator_made_stays_with_its_tags(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let name = repository.full_name();
    let own_name = format!("operators-{}", uuid::Uuid::new_v4().simple());
    let mut content = [0; 5000];
    rand::fill(&mut content[..]);
    let root = layer("made", &content);
    fleet.engine.import(root, &name, "1").await;
    let id = fleet.engine.id_of(&repository.tag("1")).await.unwrap();
    for (repository, tag) in [(&name, "2"), (&own_name, "base")] {
        fleet.engine.tag(&id, repository, tag).await;
    }
    fleet.engine.push(&name, "1").await;
    fleet.engine.push(&name, "2").await;
    let before = fleet.engine.inspect(&id).await.unwrap();

    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    let one = fleet.pulled(ada, &repository.tag("1")).await;
    assert!(one.charge > Credits::ZERO);
    let two = fleet.pulled(bob, &repository.tag("2")).await;
    fleet.removed(ada, one.id).await;
    fleet.removed(bob, two.id).await;
    // Nobody holds it any more. Whatever is to go has gone when one that was brought has.
    let brought = fleet.push(&repository, "3", 1000).await;
    let three = fleet.pulled(ada, &repository.tag("3")).await;
    fleet.removed(ada, three.id).await;
    fleet.engine.loses(&brought).await;
    let after = fleet.engine.inspect(&id).await.unwrap();
    assert_eq!(sorted(after.repo_tags), sorted(before.repo_tags));
    for user in [ada, bob] {
        assert_eq!(fleet.account(user).await.total, credits("100"));
    }
    fleet.finish().await;
}

fn sorted(mut names: Vec<EngineName>) -> Vec<EngineName> {
    names.sort();
    names
}

async fn history_is_listed_by_filter(shape: Shape) {
    use ImageState::{Held, Lost, Released};
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let user = fleet.user("100").await;
    let mut images = Vec::new();
    for tag in ["held", "released", "lost"] {
        let id = fleet.push(&repository, tag, 1000).await;
        images.push((id, fleet.pulled(user, &repository.tag(tag)).await));
    }
    fleet.removed(user, images[1].1.id).await;
    fleet.engine.remove(&images[2].0).await;
    fleet.becomes(images[2].1.id, ImageState::Lost).await;

    let listed = async |states: Option<Vec<ImageState>>| -> Vec<String> {
        let filter = ImageFilter {
            states,
            ..ImageFilter::default()
        };
        let (db, page) = (&fleet.services.db, PageArgs::default());
        let (viewer, order, with) = (
            Viewer::user(user),
            ImageOrder::ReferenceAsc,
            With::default(),
        );
        let list = images::list(db, viewer, user, &filter, order, &page, with);
        let items = list.await.unwrap().items.into_iter();
        items.map(|(_, view)| view.image.reference).collect()
    };
    let tag = |tag| repository.tag(tag);
    assert_eq!(listed(None).await, [tag("held")]);
    assert_eq!(listed(Some(vec![Released])).await, [tag("released")]);
    assert_eq!(listed(Some(vec![Lost])).await, [tag("lost")]);
    assert_eq!(
        listed(Some(vec![Held, Released, Lost])).await,
        [tag("held"), tag("lost"), tag("released")]
    );
    assert_eq!(listed(Some(vec![])).await, Vec::<String>::new());
    fleet.finish().await;
}

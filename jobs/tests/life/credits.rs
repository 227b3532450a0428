//! What is held, charged and given back, in the order of DESIGN.md's section "Credits". Where each of its sentences is
//! tested is in `sentences.rs`.

use uuid::Uuid;
use wharfinger_entity::{Credits, ImageState, JobState, job};
use wharfinger_jobs::pull_image::{self, PullImage};

use crate::support::engine_gate::{EngineGate, Hold};
use crate::support::images::random_image;
use crate::support::{Fleet, Shape, credits, on_every_shape, rows};

on_every_shape!(
    the_hold_becomes_the_expected_charge,
    an_image_that_is_paid_for_is_not_held_for_again,
    a_hold_rises_by_at_most_what_is_available,
    what_a_moved_tag_gives_back_pays_for_its_successor,
    what_is_held_already_costs_nothing,
    a_moved_tag_leaves_what_another_tag_pays_for,
    whoever_lost_a_tag_gets_the_new_image_by_pulling_again,
    a_key_is_its_users_own,
    a_worker_whose_engine_is_silent_claims_nothing,
);

/// Asks for an image, and looks at the job when the engine is about to pull. Then the pull goes on to its end.
async fn held_at_the_engine(
    fleet: &Fleet,
    gate: &EngineGate,
    user: Uuid,
    name: &str,
) -> job::Model {
    gate.hold(Hold::Pulls);
    let job = fleet.pull(user, name).await;
    gate.holds().await;
    let held = fleet.job(job.id).await;
    let account = fleet.account(user).await;
    assert_eq!(account.held, held.held, "the job's hold is the account's");
    gate.open();
    let done = fleet.succeeds(job.id).await;
    assert_eq!(done.held, Credits::ZERO);
    held
}

/// Two and a half times what is fetched, which is more than the random bytes of these images really unpack to.
async fn the_hold_becomes_the_expected_charge(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 2_000_000).await;
    let user = fleet.user("100").await;
    let held = held_at_the_engine(&fleet, &gate, user, &repository.tag("1")).await;
    let (least, most) = (credits("5"), credits("5.1"));
    assert!(held.held >= least && held.held <= most, "{held:?}");
    let left = fleet.account(user).await.total;
    let charge = credits("100").checked_sub(left).unwrap();
    assert_eq!(charge, credits("2"));
    fleet.finish().await;
}

async fn an_image_that_is_paid_for_is_not_held_for_again(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    fleet.push_under(&repository, &["1", "2"], 2_000_000).await;
    let user = fleet.user("100").await;
    fleet.pulled(user, &repository.tag("1")).await;
    let held = held_at_the_engine(&fleet, &gate, user, &repository.tag("2")).await;
    assert_eq!(held.held, Credits::ZERO);
    fleet.finish().await;
}

async fn a_hold_rises_by_at_most_what_is_available(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 2_000_000).await;
    let user = fleet.user("2.5").await;
    let held = held_at_the_engine(&fleet, &gate, user, &repository.tag("1")).await;
    assert_eq!(held.held, credits("2.5"));
    assert_eq!(fleet.account(user).await.total, credits("0.5"));
    fleet.finish().await;
}

/// The new image alone costs more than is left.
async fn what_a_moved_tag_gives_back_pays_for_its_successor(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    fleet.push(&repository, "1", 2_000_000).await;
    let user = fleet.user("3.2").await;
    fleet.pulled(user, &reference).await;
    assert_eq!(fleet.account(user).await.total, credits("1.2"));
    fleet.push(&repository, "1", 3_000_000).await;
    let held = held_at_the_engine(&fleet, &gate, user, &reference).await;
    // 2.5 × 3 - 2 would be more than there is.
    assert_eq!(held.held, credits("1.2"));
    assert_eq!(fleet.account(user).await.total, credits("0.2"));
    fleet.finish().await;
}

async fn what_is_held_already_costs_nothing(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let mut image = random_image(100_000);
    let id = repository.push(&fleet.registry, "1", &image).await;
    let user = fleet.user("100").await;
    let first = fleet.pulled(user, &repository.tag("1")).await;
    let again = fleet.pulled(user, &repository.tag("1")).await;
    assert_eq!(again, first);
    // Compressed layers make another manifest, and no other image: that is only noted.
    image.gzip = true;
    assert_eq!(repository.push(&fleet.registry, "1", &image).await, id);
    let again = fleet.pulled(user, &repository.tag("1")).await;
    assert_eq!(again.id, first.id);
    assert_ne!(again.digest, first.digest);
    assert_eq!(fleet.ledger(user).await.len(), 2, "a grant and a charge");
    fleet.removed(user, first.id).await;
    assert_eq!(fleet.account(user).await.total, credits("100"));
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

async fn a_moved_tag_leaves_what_another_tag_pays_for(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let old_id = fleet.push_under(&repository, &["1", "2"], 1_000_000).await;
    let user = fleet.user("100").await;
    let moves = fleet.pulled(user, &repository.tag("1")).await;
    let stays = fleet.pulled(user, &repository.tag("2")).await;
    fleet.push(&repository, "1", 2_000_000).await;
    let successor = fleet.pulled(user, &repository.tag("1")).await;
    assert_eq!(fleet.image(moves.id).await.state, ImageState::Released);
    assert_eq!(fleet.account(user).await.total, credits("97"));
    assert_eq!(
        fleet.engine.id_of(&repository.tag("2")).await,
        Some(old_id.clone())
    );
    // With the last tag of it the old image is given back.
    fleet.removed(user, stays.id).await;
    assert_eq!(fleet.account(user).await.total, credits("98"));
    assert_eq!(fleet.engine.inspect(&old_id).await, None);
    fleet.removed(user, successor.id).await;
    assert_eq!(fleet.account(user).await.total, credits("100"));
    fleet.finish().await;
}

async fn whoever_lost_a_tag_gets_the_new_image_by_pulling_again(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let old_id = fleet.push(&repository, "1", 1_000_000).await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    fleet.pulled(ada, &reference).await;
    let bobs = fleet.pulled(bob, &reference).await;
    let new_id = fleet.push(&repository, "1", 2_000_000).await;
    let moved = fleet.pulled(ada, &reference).await;
    // As it was when it was pulled, in the list and on the engine.
    assert_eq!(fleet.holdings(bob).await, std::slice::from_ref(&bobs));
    assert_eq!(fleet.engine.id_of(&old_id).await, Some(old_id.clone()));

    let again = fleet.pulled(bob, &reference).await;
    assert_eq!(again.engine_image_id, moved.engine_image_id);
    assert_eq!(fleet.holdings(bob).await, [again]);
    assert_eq!(fleet.image(bobs.id).await.state, ImageState::Released);
    assert_eq!(fleet.account(bob).await.total, credits("98"));
    fleet.engine.loses(&old_id).await;
    assert_eq!(fleet.engine.id_of(&reference).await, Some(new_id));
    fleet.finish().await;
}

async fn a_key_is_its_users_own(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    fleet.stop_worker().await;
    let reference = fleet.repository().tag("1");
    let mut jobs = Vec::new();
    for user in [fleet.user("100").await, fleet.user("100").await] {
        let request = PullImage {
            idempotency_key: Some("the same".to_owned()),
            ..rows::pull_image(user, None, &reference)
        };
        let job = pull_image::accept(&fleet.services, &request).await.unwrap();
        assert_eq!(job.user_id, user);
        jobs.push(job.id);
    }
    assert_ne!(jobs[0], jobs[1]);
    fleet.finish().await;
}

/// The first job finds the engine silent, at no cost; the second is not taken before it answers.
async fn a_worker_whose_engine_is_silent_claims_nothing(shape: Shape) {
    let (fleet, gate) = Fleet::gated(shape, |_| ()).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 1000).await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    gate.cut();
    let first = fleet.pull(ada, &repository.tag("1")).await;
    fleet.reaches(first.id, JobState::Retrying).await;
    let second = fleet.pull(bob, &repository.tag("1")).await;
    fleet.handed_out(second.id).await;
    gate.open();
    let second = fleet.ends(second.id, JobState::Succeeded, 1).await;
    assert_eq!(second.max_attempts, 3, "{second:?}");
    fleet.succeeds(first.id).await;
    fleet.finish().await;
}

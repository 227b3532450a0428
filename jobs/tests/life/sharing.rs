//! Several users, several tags, and tags that move: who pays, and what the engine keeps.

use std::time::Duration;

use wharfinger_entity::{Credits, ImageState, JobState};

use crate::support::{Fleet, Shape, credits, on_every_shape};

on_every_shape!(
    two_users_share_a_transfer_and_an_image,
    many_users_pull_at_the_same_moment,
    two_tags_of_one_image_are_paid_once,
    a_moved_tag_is_paid_anew,
    somebody_elses_tag_keeps_the_image,
);

/// Of a hundred credits.
fn left(charge: Credits) -> Credits {
    credits("100").checked_sub(charge).unwrap()
}

async fn two_users_share_a_transfer_and_an_image(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let (proxy, repository) = fleet.behind_proxy().await;
    let id = fleet.push(&repository, "1", 400_000).await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    proxy.block();
    let first = fleet.pull(ada, &repository.tag("1")).await;
    let second = fleet.pull(bob, &repository.tag("1")).await;
    tokio::join!(fleet.downloads(first.id), fleet.downloads(second.id));
    proxy.open();
    let (first, second) = tokio::join!(fleet.ended(first.id), fleet.ended(second.id));
    assert_eq!(first.state, JobState::Succeeded, "{first:?}");
    assert_eq!(second.state, JobState::Succeeded, "{second:?}");
    assert_eq!(proxy.layers(), 1, "the layer came once");

    let ours = fleet.image(first.image_id.unwrap()).await;
    let theirs = fleet.image(second.image_id.unwrap()).await;
    assert_eq!(ours.engine_image_id, theirs.engine_image_id);
    assert_eq!(fleet.account(ada).await.total, left(ours.charge));
    assert_eq!(fleet.account(bob).await.total, left(theirs.charge));
    fleet.removed(ada, ours.id).await;
    let kept = fleet.engine.id_of(&repository.tag("1")).await;
    assert_eq!(kept.as_ref(), Some(&id));
    fleet.removed(bob, theirs.id).await;
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

/// Nobody has heard of the image, and everyone's record of it is written at once.
async fn many_users_pull_at_the_same_moment(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| {
        settings.worker.concurrency = 8;
        // One attempt each, also on a machine that is too busy to renew a short lease.
        settings.worker.lease = Duration::from_mins(1);
    })
    .await;
    fleet.stop_worker().await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 100_000).await;
    let mut jobs = Vec::new();
    for _ in 0..8 {
        let user = fleet.user("100").await;
        jobs.push(fleet.pull(user, &repository.tag("1")).await);
    }
    fleet.start_worker().await;
    for job in jobs {
        fleet.ends(job.id, JobState::Succeeded, 1).await;
    }
    fleet.finish().await;
}

async fn two_tags_of_one_image_are_paid_once(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push_under(&repository, &["1", "2"], 100_000).await;
    let user = fleet.user("100").await;
    let one = fleet.pulled(user, &repository.tag("1")).await;
    let two = fleet.pulled(user, &repository.tag("2")).await;
    assert!(one.charge > Credits::ZERO);
    assert_eq!(two.charge, Credits::ZERO);
    assert_eq!(fleet.account(user).await.total, left(one.charge));

    fleet.removed(user, one.id).await;
    assert_eq!(fleet.account(user).await.total, left(one.charge));
    assert_eq!(fleet.engine.inspect(&repository.tag("1")).await, None);
    let kept = fleet.engine.id_of(&repository.tag("2")).await;
    assert_eq!(kept.as_ref(), Some(&id));
    fleet.removed(user, two.id).await;
    assert_eq!(fleet.account(user).await.total, credits("100"));
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

async fn a_moved_tag_is_paid_anew(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let reference = repository.tag("1");
    let old = fleet.push(&repository, "1", 100_000).await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    let ours = fleet.pulled(ada, &reference).await;
    let theirs = fleet.pulled(bob, &reference).await;

    let new = fleet.push(&repository, "1", 200_000).await;
    let moved = fleet.pulled(ada, &reference).await;
    assert_ne!(moved.id, ours.id);
    assert!(moved.charge > ours.charge);
    assert_eq!(fleet.image(ours.id).await.state, ImageState::Released);
    assert_eq!(fleet.account(ada).await.total, left(moved.charge));
    assert_eq!(fleet.refunds(ada).await, ["the tag moved to another image"]);
    assert_eq!(fleet.engine.id_of(&reference).await, Some(new.clone()));
    // What the other one holds stays: by id.
    assert_eq!(fleet.image(theirs.id).await.state, ImageState::Held);
    assert_eq!(fleet.engine.id_of(&old).await, Some(old.clone()));
    assert_eq!(fleet.account(bob).await.total, left(theirs.charge));

    fleet.removed(bob, theirs.id).await;
    assert_eq!(fleet.account(bob).await.total, credits("100"));
    assert_eq!(fleet.engine.inspect(&old).await, None);
    assert_eq!(fleet.engine.id_of(&reference).await, Some(new.clone()));
    fleet.removed(ada, moved.id).await;
    assert_eq!(fleet.account(ada).await.total, credits("100"));
    assert_eq!(fleet.engine.inspect(&new).await, None);
    fleet.finish().await;
}

async fn somebody_elses_tag_keeps_the_image(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    fleet.engine.tag(&id, &repository.full_name(), "mine").await;
    fleet.removed(user, image.id).await;
    assert_eq!(fleet.account(user).await.total, credits("100"));
    assert_eq!(fleet.engine.inspect(&repository.tag("1")).await, None);
    assert_eq!(fleet.engine.id_of(&repository.tag("mine")).await, Some(id));
    fleet.finish().await;
}

//! Where a pull goes that names no host: a test for each sentence of `hosts::place`.

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set};
use wharfinger_entity::{ImageState, JobState, image};
use wharfinger_jobs::error::UserErrorCode;

use crate::support::bare::{Bare, LATER};
use crate::support::{Shape, on_every_database};

on_every_database!(
    a_named_host_is_taken_if_it_is_there_and_takes_jobs,
    hosts_that_are_silent_or_drained_are_not_chosen,
    where_the_image_is_held_comes_first,
    what_others_hold_does_not_count,
    a_host_without_enough_storage_is_not_chosen,
    the_least_work_for_its_size_is_chosen_then_the_most_storage,
);

const GB: i64 = 1_000_000_000;
const IMAGE: &str = "127.0.0.1:1/a:1";

async fn a_named_host_is_taken_if_it_is_there_and_takes_jobs(shape: Shape) {
    let bare = Bare::start(shape).await;
    let user = bare.user().await;
    // Full and busy, and named.
    let full = bare
        .host(|host| host.storage_used = Set(Some(10 * GB)))
        .await;
    let free = bare.host(|_| ()).await;
    let silent = bare.host(|host| host.last_seen_at = Set(None)).await;
    let drained = bare.host(|host| host.schedulable = Set(false)).await;
    let job = bare.pull(user, Some(full), IMAGE).await;
    assert_eq!((job.host_id, job.host_named), (Some(full), true));
    let job = bare.pull(user, None, IMAGE).await;
    assert_eq!((job.host_id, job.host_named), (Some(free), false));
    for (host, code) in [
        (silent, UserErrorCode::HostUnavailable),
        (drained, UserErrorCode::HostUnavailable),
        (user, UserErrorCode::HostNotFound),
    ] {
        let refused = bare.try_pull(user, Some(host), IMAGE).await.unwrap_err();
        assert_eq!(refused.code, code);
        assert_eq!(refused.field, Some(vec!["input", "hostId"]));
    }
}

async fn hosts_that_are_silent_or_drained_are_not_chosen(shape: Shape) {
    let bare = Bare::start(shape).await;
    let user = bare.user().await;
    let past = bare.services.clock.now().before(LATER);
    let silent = bare.host(|host| host.last_seen_at = Set(Some(past))).await;
    let drained = bare.host(|host| host.schedulable = Set(false)).await;
    let refused = bare.try_pull(user, None, IMAGE).await.unwrap_err();
    assert_eq!(refused.code, UserErrorCode::HostUnavailable);
    // Not even with the image.
    bare.hold(silent, Some(user), IMAGE).await;
    bare.hold(drained, Some(user), IMAGE).await;
    let there = bare.host(|_| ()).await;
    assert_eq!(bare.placed(user, IMAGE).await, there);
}

async fn where_the_image_is_held_comes_first(shape: Shape) {
    let bare = Bare::start(shape).await;
    let user = bare.user().await;
    let full = bare
        .host(|host| host.storage_used = Set(Some(10 * GB)))
        .await;
    let free = bare.host(|_| ()).await;
    let holding = bare.hold(full, Some(user), IMAGE).await;
    bare.pull(user, Some(full), "127.0.0.1:1/b").await;
    // Full, busy, and it has the image.
    assert_eq!(bare.placed(user, IMAGE).await, full);
    assert_eq!(bare.placed(user, "127.0.0.1:1/a:2").await, free);

    // What was let go of is not there any more.
    let let_go = image::ActiveModel {
        id: Set(holding),
        state: Set(ImageState::Released),
        released_at: Set(Some(bare.services.clock.now())),
        live: Set(None),
        ..Default::default()
    };
    let_go.update(bare.services.db.write()).await.unwrap();
    assert_eq!(bare.placed(user, IMAGE).await, free);

    // Everyone's images are everyone's.
    bare.hold(full, None, "127.0.0.1:1/public:1").await;
    let job = bare.pull(user, None, "127.0.0.1:1/public:1").await;
    assert_eq!((job.host_id, job.state), (Some(full), JobState::Succeeded));
}

async fn what_others_hold_does_not_count(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (ada, bob) = (bare.user().await, bare.user().await);
    let with = bare.host(|_| ()).await;
    let without = bare.host(|host| host.concurrency = Set(100)).await;
    bare.pull(bob, Some(with), "127.0.0.1:1/b").await;
    bare.hold(with, Some(ada), IMAGE).await;
    // Bob's pull goes where it would go if Ada held nothing.
    assert_eq!(bare.placed(bob, IMAGE).await, without);
    assert_eq!(bare.placed(ada, IMAGE).await, with);
}

async fn a_host_without_enough_storage_is_not_chosen(shape: Shape) {
    // A pull holds a credit for each megabyte.
    let mut bare = Bare::with(shape, |settings| {
        settings.credits.minimum_to_pull = "300".parse().unwrap();
    })
    .await;
    let user = bare.user().await;
    let busy = bare.host(|_| ()).await;
    bare.pull(user, Some(busy), IMAGE).await;
    // Less than a twentieth is free; less than a pull holds is free.
    let of_20 = bare
        .host(|host| {
            host.storage_total = Set(Some(1000 * GB));
            host.storage_used = Set(Some(951 * GB));
        })
        .await;
    bare.host(|host| {
        host.storage_total = Set(Some(GB));
        host.storage_used = Set(Some(GB - 299_999_999));
    })
    .await;
    assert_eq!(bare.placed(user, "127.0.0.1:1/b").await, busy);

    // Whoever says nothing counts as having room.
    let mute = bare
        .host(|host| {
            host.storage_total = Set(None);
            host.storage_used = Set(None);
        })
        .await;
    assert_eq!(bare.placed(user, "127.0.0.1:1/c").await, mute);

    // Nobody has enough: the most free storage comes before the least work.
    for host in [busy, mute] {
        bare.change_host(host, |host| host.schedulable = Set(false))
            .await;
    }
    bare.change(|settings| settings.credits.minimum_to_pull = "1".parse().unwrap());
    bare.pull(user, Some(of_20), "127.0.0.1:1/d").await;
    let small = bare.placed(user, "127.0.0.1:1/e").await;
    assert_ne!(small, of_20, "it has enough for a pull of one credit");
    bare.change_host(small, |host| host.storage_used = Set(Some(GB)))
        .await;
    assert_eq!(bare.placed(user, "127.0.0.1:1/f").await, of_20);
    assert_eq!(bare.placed(user, "127.0.0.1:1/g").await, of_20);
}

async fn the_least_work_for_its_size_is_chosen_then_the_most_storage(shape: Shape) {
    let bare = Bare::start(shape).await;
    let user = bare.user().await;
    let small = bare.host(|host| host.storage_used = Set(Some(GB))).await;
    let large = bare.host(|host| host.concurrency = Set(3)).await;
    let mut placed = Vec::new();
    for tag in 0..8 {
        placed.push(bare.placed(user, &format!("127.0.0.1:1/a:{tag}")).await);
    }
    // Of equals the one with more storage; then one of the small one's for three of the large one's.
    assert_eq!(
        placed,
        [small, large, large, large, small, large, large, large]
    );
}

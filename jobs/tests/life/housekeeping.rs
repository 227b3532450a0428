//! The work that one process of the fleet does for all of them.

use std::time::Duration;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{ImageState, JobState, Role, idempotency_key, lease, user};
use wharfinger_jobs::accounts::{GrantCredits, grant_credits};
use wharfinger_jobs::maintenance;
use wharfinger_jobs::pull_image::{self, PullImage};

use crate::support::background::Background;
use crate::support::bare::Bare;
use crate::support::{Shape, credits, eventually, on_every_database, rows};

on_every_database!(
    the_work_changes_hands_when_its_process_vanishes,
    the_work_changes_hands_at_once_when_its_process_stops,
    a_lost_host_is_given_up_a_holder_at_a_time,
    a_grants_key_is_kept_for_ever,
);

/// Starts a process that only keeps house, and that can be killed.
async fn process(bare: &Bare) -> Runtime {
    let services = bare.process().await;
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(maintenance::run(services, CancellationToken::new()));
    runtime
}

async fn holder(bare: &Bare) -> Option<Uuid> {
    let lease = lease::Entity::find().one(bare.services.db.read());
    lease.await.unwrap().map(|lease| lease.holder)
}

async fn the_work_changes_hands_when_its_process_vanishes(shape: Shape) {
    let bare = Bare::start(shape).await;
    let first = process(&bare).await;
    let before = eventually("a process keeps house", || holder(&bare)).await;
    let second = process(&bare).await;
    // Nothing of it runs after this, and it says nothing.
    first.shutdown_background();
    eventually("another process keeps house", || async {
        holder(&bare).await.filter(|holder| *holder != before)
    })
    .await;
    second.shutdown_background();
}

async fn the_work_changes_hands_at_once_when_its_process_stops(shape: Shape) {
    let bare = Bare::start(shape).await;
    let first = bare.housekeeping().await;
    eventually("a process keeps house", || holder(&bare)).await;
    first.stop().await;
    let lease = lease::Entity::find().one(bare.services.db.read());
    let lease = lease.await.unwrap().unwrap();
    assert_eq!(lease.expires_at.micros(), 0);
}

async fn a_lost_host_is_given_up_a_holder_at_a_time(shape: Shape) {
    let bare = Bare::with(shape, |settings| {
        settings.host.offline_after = Duration::from_millis(600);
        settings.host.lost_after = Duration::from_secs(1);
    })
    .await;
    let host = bare.host(|_| ()).await;
    // More than are read at a time, of more users than that, and more of one of them than end at a time.
    let (ada, bob) = (bare.user().await, bare.user().await);
    let mut held = Vec::new();
    for number in 0..120 {
        let reference = format!("127.0.0.1:1/ada:{number}");
        held.push(bare.hold(host, Some(ada), &reference).await);
    }
    held.push(bare.hold(host, Some(bob), "127.0.0.1:1/bob").await);
    held.push(bare.hold(host, None, "127.0.0.1:1/public").await);
    let mut jobs = Vec::new();
    for number in 0..120 {
        let reference = format!("127.0.0.1:1/bob:{number}");
        jobs.push(bare.pull(bob, Some(host), &reference).await.id);
    }
    let past = bare.services.clock.now().before(Duration::from_mins(1));
    bare.change_host(host, |host| host.last_seen_at = Set(Some(past)))
        .await;
    let keeping = bare.housekeeping().await;
    for id in held {
        eventually("what was held is lost", || async {
            (bare.image(id).await.state == ImageState::Lost).then_some(())
        })
        .await;
    }
    for id in jobs {
        bare.reaches(id, JobState::Failed).await;
    }
    keeping.stop().await;
}

/// As long as its key is kept, a mutation happens once.
async fn a_grants_key_is_kept_for_ever(shape: Shape) {
    let mut bare = Bare::start(shape).await;
    bare.stop_clock();
    let (user, admin) = (bare.user().await, bare.user().await);
    let host = bare.host(|_| ()).await;
    let db = &bare.services.db;
    let set_up = user::ActiveModel {
        id: Set(admin),
        role: Set(Role::Admin),
        ..Default::default()
    };
    let admin = set_up.update(db.write()).await.unwrap();
    let grant = GrantCredits {
        caller: &admin,
        user_id: Some(user),
        amount: "5".parse().unwrap(),
        reason: "course",
        idempotency_key: Some("k"),
    };
    let (_, granted) = grant_credits(&bare.services, &grant).await.unwrap();
    let pull = PullImage {
        idempotency_key: Some("k".to_owned()),
        ..rows::pull_image(user, Some(host), "127.0.0.1:1/x")
    };
    pull_image::accept(&bare.services, &pull).await.unwrap();

    bare.services.clock.advance(Duration::from_hours(24 * 730));
    let services = bare.services.clone();
    let housekeeping = Background::start(|stop| maintenance::run(services, stop));
    eventually("the key of the pull is forgotten", || async {
        let keys = idempotency_key::Entity::find().all(db.read()).await;
        let of_pulls = keys.unwrap().iter().any(|key| key.job_id.is_some());
        (!of_pulls).then_some(())
    })
    .await;
    housekeeping.stop().await;
    let (account, again) = grant_credits(&bare.services, &grant).await.unwrap();
    assert_eq!(again, granted);
    assert_eq!(account.total, credits("1005"));
}

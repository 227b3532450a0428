//! The work that one process of the fleet does for all of them.

use std::time::Duration;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{ImageState, JobState, Role, idempotency_key, image, lease, user};
use wharfinger_jobs::accounts::{GrantCredits, grant_credits};
use wharfinger_jobs::maintenance;
use wharfinger_jobs::pull_image::{self, PullImage};
use wharfinger_jobs::services::Services;

use crate::support::bare::Bare;
use crate::support::{Shape, eventually, in_time, on_every_database};

on_every_database!(
    the_work_changes_hands_when_its_process_vanishes,
    the_work_changes_hands_at_once_when_its_process_stops,
    a_lost_host_is_given_up_a_holder_at_a_time,
    a_grants_key_is_kept_for_ever,
);

/// Starts a process that only keeps house, and that can be killed.
fn process(services: Services, stop: CancellationToken) -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.spawn(maintenance::run(services, stop));
    runtime
}

async fn holder(bare: &Bare) -> Option<Uuid> {
    let lease = lease::Entity::find().one(bare.services.db.read());
    lease.await.unwrap().map(|lease| lease.holder)
}

async fn the_work_changes_hands_when_its_process_vanishes(shape: Shape) {
    let bare = Bare::start(shape).await;
    let stop = CancellationToken::new();
    let first = process(bare.process().await, stop.clone());
    let before = eventually("a process keeps house", || holder(&bare)).await;
    let second = process(bare.process().await, stop.clone());
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
    let stop = CancellationToken::new();
    let first = tokio::spawn(maintenance::run(bare.process().await, stop.clone()));
    eventually("a process keeps house", || holder(&bare)).await;
    stop.cancel();
    in_time("it stops", first).await.unwrap();
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
    let stop = CancellationToken::new();
    let keeping = tokio::spawn(maintenance::run(bare.process().await, stop.clone()));
    for id in held {
        let lost = eventually("what was held is lost", || async {
            let found = image::Entity::find_by_id(id).one(bare.services.db.read());
            found.await.unwrap().filter(|image| image.live.is_none())
        })
        .await;
        assert_eq!(lost.state, ImageState::Lost);
    }
    for id in jobs {
        let job = eventually("the job ends", || async {
            Some(bare.job(id).await).filter(|job| job.state.is_final())
        })
        .await;
        assert_eq!(job.state, JobState::Failed, "{job:?}");
    }
    stop.cancel();
    in_time("it stops", keeping).await.unwrap();
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
        user_id: user,
        reference: "127.0.0.1:1/x".to_owned(),
        host: Some(host),
        idempotency_key: Some("k".to_owned()),
        traceparent: None,
    };
    pull_image::accept(&bare.services, &pull).await.unwrap();

    bare.services.clock.advance(Duration::from_hours(24 * 730));
    let stop = CancellationToken::new();
    let housekeeping = maintenance::run(bare.services.clone(), stop.clone());
    let housekeeping = tokio::spawn(housekeeping);
    eventually("the key of the pull is forgotten", || async {
        let keys = idempotency_key::Entity::find().all(db.read()).await;
        let of_pulls = keys.unwrap().iter().any(|key| key.job_id.is_some());
        (!of_pulls).then_some(())
    })
    .await;
    stop.cancel();
    in_time("it stops", housekeeping).await.unwrap();
    let (account, again) = grant_credits(&bare.services, &grant).await.unwrap();
    assert_eq!(again, granted);
    assert_eq!(account.total, "1005".parse().unwrap());
}

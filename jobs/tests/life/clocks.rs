//! Clocks that do not agree.

use std::time::Duration;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use uuid::Uuid;
use wharfinger_entity::{ImageVisibility, JobState, Timestamp, engine_image, lease};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::set_image_visibility::set_image_visibility;
use wharfinger_jobs::engine::Engine;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::maintenance::{self, clock_skew};
use wharfinger_jobs::registry::{RegistryClient, Timeouts};
use wharfinger_jobs::services::Services;
use wharfinger_jobs::worker::Worker;

use crate::support::background::Background;
use crate::support::bare::{Bare, LATER};
use crate::support::process::rules;
use crate::support::{Fleet, Shape, eventually, on_every_database};

on_every_database!(
    a_clock_that_is_wrong_is_found_out,
    a_wrong_clock_takes_no_live_lease_and_keeps_no_dead_one,
    a_wrong_clock_takes_no_live_lock_and_keeps_no_dead_one,
    a_worker_whose_clock_is_behind_takes_a_job_at_once,
);

const SECOND: Duration = Duration::from_secs(1);

/// The present, which is the databases' too: they are on this machine.
fn now() -> Timestamp {
    Clock::system().now()
}

/// A process whose clock is an hour ahead, and one whose clock is an hour behind.
async fn wrong(bare: &Bare) -> [Services; 2] {
    let mut processes = [bare.process().await, bare.process().await];
    processes[0].clock = Clock::wrong(now().after(LATER));
    processes[1].clock = Clock::wrong(now().before(LATER));
    processes
}

async fn a_clock_that_is_wrong_is_found_out(shape: Shape) {
    let bare = Bare::start(shape).await;
    let skew = clock_skew::measure(&bare.services).await.unwrap();
    assert!(skew.at_least() < Duration::from_millis(100), "{skew:?}");
    let hour = 3_600_000_000;
    for (services, expected) in wrong(&bare).await.into_iter().zip([-hour, hour]) {
        let skew = clock_skew::measure(&services).await.unwrap();
        let off = skew.micros - expected;
        assert!((0..10_000_000).contains(&(off + 1_000_000)), "{skew:?}");
    }
}

/// A job that runs, of a worker that renews no lease.
async fn running(bare: &Bare, host: Uuid, lease_until: Timestamp) -> Uuid {
    let user = bare.user().await;
    let job = bare.pull(user, Some(host), "127.0.0.1:1/a:1").await.id;
    bare.runs(job, lease_until).await;
    job
}

async fn a_wrong_clock_takes_no_live_lease_and_keeps_no_dead_one(shape: Shape) {
    let bare = Bare::start(shape).await;
    let host = bare.host(|_| ()).await;
    let live = running(&bare, host, now().after(LATER / 2)).await;
    for services in wrong(&bare).await {
        // The lease of the housekeeping is another process's for a moment.
        let until = now().after(2 * SECOND);
        let held = lease::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set("housekeeping".to_owned()),
            holder: Set(Uuid::now_v7()),
            expires_at: Set(until),
        };
        lease::Entity::delete_many()
            .exec(bare.services.db.write())
            .await
            .unwrap();
        let held = held.insert(bare.services.db.write()).await.unwrap();
        let dead = running(&bare, host, now().before(SECOND)).await;
        let keeping = Background::start(|stop| maintenance::run(services, stop));
        let taken = eventually("another process keeps house", || async {
            let lease = lease::Entity::find().one(bare.services.db.read());
            let lease = lease.await.unwrap().unwrap();
            (lease.holder != held.holder).then_some(lease)
        })
        .await;
        assert!(now() >= until, "it was taken while it was held");
        assert!(taken.expires_at < now().after(LATER / 2), "{taken:?}");
        bare.reaches(dead, JobState::Retrying).await;
        assert_eq!(bare.job(live).await.state, JobState::Running);
        keeping.stop().await;
    }
}

async fn a_wrong_clock_takes_no_live_lock_and_keeps_no_dead_one(shape: Shape) {
    let bare = Bare::start(shape).await;
    let host = bare.host(|_| ()).await;
    let user = bare.user().await;
    for (number, services) in wrong(&bare).await.iter().enumerate() {
        let reference = format!("127.0.0.1:1/a:{number}");
        let held = bare.hold(host, Some(user), &reference).await;
        let held = bare.image(held).await;
        let until = now().after(2 * SECOND);
        let locked = engine_image::ActiveModel {
            id: Set(held.engine_image_id),
            lock_token: Set(Some(Uuid::new_v4())),
            lock_until: Set(Some(until)),
            ..Default::default()
        };
        locked.update(bare.services.db.write()).await.unwrap();
        // Waits for the lock, and would give up after a while.
        let actor = Actor::Program("test");
        set_image_visibility(services, &actor, Some(held.id), ImageVisibility::Public)
            .await
            .unwrap();
        assert!(now() >= until, "it was taken while it was held");
    }
}

/// Every job is due in the future, as this worker sees it: its clock does not even go on.
async fn a_worker_whose_clock_is_behind_takes_a_job_at_once(shape: Shape) {
    let fleet = Fleet::idle(shape, |settings| settings.host.offline_after = LATER).await;
    let behind = Clock::wrong(now().before(30 * SECOND));
    let services = fleet.process(behind).await;
    let engine = Engine::connect(Some(&fleet.engine.url)).unwrap();
    let registry = RegistryClient::new(rules(), Timeouts::default());
    let worker = Worker::join(services, engine, registry, "behind");
    let worker = worker.await.unwrap();
    let working = Background::start(|stop| worker.run(stop));
    let repository = fleet.repository();
    fleet.push(&repository, "1", 50_000).await;
    let user = fleet.user("100").await;
    let job = fleet.pull(user, &repository.tag("1")).await;
    fleet.ends(job.id, JobState::Succeeded, 1).await;
    working.stop().await;
    fleet.finish().await;
}

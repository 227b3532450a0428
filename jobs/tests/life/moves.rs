//! Pulls that leave a host that is gone.

use std::time::Duration;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use uuid::Uuid;
use wharfinger_entity::{Credits, JobState, job, lease};
use wharfinger_jobs::{dispatch, maintenance};

use crate::support::background::Background;
use crate::support::bare::{Bare, LATER};
use crate::support::engine::TestEngine;
use crate::support::engine_gate::EngineGate;
use crate::support::{Fleet, Shape, eventually, in_time, on_every_shape};

/// Time for two heartbeats on a busy machine, and not much more.
const OFFLINE_AFTER: Duration = Duration::from_millis(1500);

on_every_shape!(
    a_silent_hosts_pulls_go_elsewhere,
    moved_pulls_keep_their_order_and_their_holds,
    a_pull_that_moves_to_where_it_is_public_is_done,
    a_pull_that_moves_forgets_what_its_host_had,
    without_another_host_everything_waits,
);

/// Host "one" at a gate to the first engine, running one job at a time, and nothing else yet.
async fn one(shape: Shape) -> (Fleet, EngineGate, Uuid) {
    let mut fleet = Fleet::idle(shape, |settings| {
        settings.host.offline_after = OFFLINE_AFTER;
        settings.worker.concurrency = 1;
    })
    .await;
    let gate = EngineGate::start(&fleet.engine.url).await;
    let host = fleet.start_worker_on("one", &gate.url).await;
    (fleet, gate, host)
}

/// Who ran a job's attempts.
async fn workers(fleet: &Fleet, job: Uuid) -> Vec<String> {
    let attempts = fleet.attempts(job).await;
    let host = |worker: &str| worker.split('/').next().unwrap().to_owned();
    attempts
        .iter()
        .map(|attempt| host(&attempt.worker))
        .collect()
}

async fn a_silent_hosts_pulls_go_elsewhere(shape: Shape) {
    let (mut fleet, gate, one) = one(shape).await;
    let two_engine = TestEngine::open(2);
    let repository = fleet.repository();
    let mut ids = Vec::new();
    for tag in ["held", "queued", "named"] {
        ids.push(fleet.push(&repository, tag, 100_000).await);
    }
    let user = fleet.user("100").await;
    let held = fleet.pulled(user, &repository.tag("held")).await;
    let stuck = fleet.stuck_pull().await;
    let running = stuck.job;
    let queued = fleet.pull(user, &repository.tag("queued")).await.id;
    let named = fleet
        .try_pull_onto(Some(one), user, &repository.tag("named"))
        .await
        .unwrap()
        .id;
    let removal = fleet.try_remove(user, held.id).await.unwrap().id;
    let two = fleet.start_worker_on("two", &two_engine.url).await;
    gate.cut();
    stuck.proxy.open();

    for id in [running, queued] {
        let job = fleet.succeeds(id).await;
        assert_eq!(job.host_id, Some(two), "{job:?}");
        assert!(!job.host_named);
    }
    assert_eq!(workers(&fleet, queued).await, ["two"]);
    let of_running = workers(&fleet, running).await;
    assert_eq!(of_running.first().map(String::as_str), Some("one"));
    assert_eq!(of_running.last().map(String::as_str), Some("two"));
    for id in [&stuck.id, &ids[1]] {
        assert!(two_engine.inspect(id).await.is_some());
    }
    // What was named and what is removed there is of no use elsewhere.
    for id in [named, removal] {
        let job = fleet.job(id).await;
        assert!(!job.state.is_final() && job.host_id == Some(one), "{job:?}");
    }
    assert!(fleet.job(named).await.held > Credits::ZERO);

    gate.open();
    for id in [named, removal] {
        let job = fleet.succeeds(id).await;
        assert_eq!(job.host_id, Some(one));
    }
    // Nothing was done twice, and nothing is left of what began there.
    assert_eq!(workers(&fleet, queued).await, ["two"]);
    assert!(fleet.engine.inspect(&ids[1]).await.is_none());
    fleet.engine.loses(&stuck.id).await;
    assert!(fleet.engine.inspect(&ids[2]).await.is_some());
    fleet.finish().await;
}

/// A dispatcher and the housekeeping, until dropped.
fn keep_house(bare: &Bare) -> [Background; 2] {
    let (dispatching, keeping) = (bare.services.clone(), bare.services.clone());
    [
        Background::start(|stop| dispatch::run(dispatching, None, stop)),
        Background::start(|stop| maintenance::run(keeping, stop)),
    ]
}

/// Waits until a process has renewed that it keeps house.
async fn renewed(bare: &Bare) {
    let until = || async {
        let lease = lease::Entity::find().one(bare.services.db.read());
        lease.await.unwrap().map(|lease| lease.expires_at)
    };
    let before = eventually("a process keeps house", &until).await;
    eventually("it goes on", || async {
        until().await.filter(|at| *at != before)
    })
    .await;
}

/// From now on nothing is heard of a host.
async fn silence(bare: &Bare, host: Uuid) {
    let past = bare.services.clock.now().before(LATER);
    bare.change_host(host, |host| host.last_seen_at = Set(Some(past)))
        .await;
}

async fn bare(shape: Shape) -> Bare {
    Bare::with(shape, |settings| {
        settings.host.offline_after = OFFLINE_AFTER;
    })
    .await
}

async fn moved(bare: &Bare, job: Uuid, to: Uuid) -> job::Model {
    eventually(&format!("job {job} moves"), || async {
        Some(bare.job(job).await).filter(|job| job.host_id == Some(to))
    })
    .await
}

async fn moved_pulls_keep_their_order_and_their_holds(shape: Shape) {
    let bare = bare(shape).await;
    let (ada, bob, eve) = (bare.user().await, bare.user().await, bare.user().await);
    let one = bare.host(|_| ()).await;
    let mut of_ada = Vec::new();
    for tag in 0..3 {
        let reference = format!("127.0.0.1:1/a:{tag}");
        of_ada.push(bare.pull(ada, None, &reference).await);
    }
    let of_bob = bare.pull(bob, None, "127.0.0.1:1/b").await;
    let two = bare.host(|_| ()).await;
    let of_eve = bare.pull(eve, Some(two), "127.0.0.1:1/e").await;
    // Accepted later, and there before: of one reference on one host, one job runs at a time.
    let there = bare.pull(ada, Some(two), "127.0.0.1:1/a:0").await;
    silence(&bare, one).await;
    let _housekeeping = keep_house(&bare);

    let mut after = Vec::new();
    for before in &of_ada {
        let job = moved(&bare, before.id, two).await;
        assert_eq!((job.state, job.held), (JobState::Queued, before.held));
        assert!(job.sequence > before.sequence, "{job:?}");
        after.push(job);
    }
    let turns: Vec<i64> = after.iter().map(|job| job.turn).collect();
    assert_eq!(turns, [there.turn + 1, there.turn + 2, there.turn + 3]);
    assert!(after.iter().all(|job| job.ordinal > there.ordinal));
    assert!(after.is_sorted_by_key(|job| job.ordinal));
    // Bob's one stands beside everybody's first one.
    let of_bob = moved(&bare, of_bob.id, two).await;
    assert_eq!(of_bob.turn, of_eve.turn);
    let user = wharfinger_entity::user::Entity::find_by_id(ada);
    let user = user.one(bare.services.db.read()).await.unwrap().unwrap();
    assert_eq!(user.held.micro(), 4 * there.held.micro());
}

async fn a_pull_that_moves_to_where_it_is_public_is_done(shape: Shape) {
    let bare = bare(shape).await;
    let user = bare.user().await;
    let one = bare.host(|_| ()).await;
    let job = bare.pull(user, None, "127.0.0.1:1/a:1").await;
    let two = bare.host(|_| ()).await;
    let image = bare.hold(two, None, "127.0.0.1:1/a:1").await;
    silence(&bare, one).await;
    let _housekeeping = keep_house(&bare);
    let job = moved(&bare, job.id, two).await;
    assert_eq!(job.state, JobState::Succeeded, "{job:?}");
    assert_eq!((job.image_id, job.held), (Some(image), Credits::ZERO));
}

async fn a_pull_that_moves_forgets_what_its_host_had(shape: Shape) {
    let bare = bare(shape).await;
    let user = bare.user().await;
    let one = bare.host(|_| ()).await;
    let job = bare.pull(user, None, "127.0.0.1:1/a:2").await.id;
    let holding = bare.hold(one, None, "127.0.0.1:1/a:3").await;
    let of_one = bare.image(holding).await;
    let begun = job::ActiveModel {
        id: Set(job),
        engine_image_id: Set(Some(of_one.engine_image_id)),
        ..Default::default()
    };
    begun.update(bare.services.db.write()).await.unwrap();
    let two = bare.host(|_| ()).await;
    silence(&bare, one).await;
    let _housekeeping = keep_house(&bare);
    assert_eq!(moved(&bare, job, two).await.engine_image_id, None);
}

async fn without_another_host_everything_waits(shape: Shape) {
    let bare = bare(shape).await;
    let user = bare.user().await;
    let one = bare.host(|_| ()).await;
    bare.host(|host| host.schedulable = Set(false)).await;
    let job = bare.pull(user, None, "127.0.0.1:1/a:1").await.id;
    silence(&bare, one).await;
    let _housekeeping = keep_house(&bare);
    let handed_out = eventually("it is handed out", || async {
        Some(bare.job(job).await).filter(|job| job.dispatched_at.is_some())
    });
    assert_eq!(handed_out.await.host_id, Some(one));
    // It has been looked at: rounds go on beside the renewals of the lease.
    renewed(&bare).await;
    renewed(&bare).await;
    assert_eq!(bare.job(job).await.host_id, Some(one));
    let three = bare.host(|_| ()).await;
    let job = in_time("it moves", moved(&bare, job, three)).await;
    assert_eq!(job.state, JobState::Queued);
}

/// Where hosts are processes of their own.
mod apart {
    use super::{one, workers};
    use crate::support::engine::TestEngine;
    use crate::support::{Shape, on_every_fleet};

    on_every_fleet!(a_killed_hosts_running_pull_goes_elsewhere);

    async fn a_killed_hosts_running_pull_goes_elsewhere(shape: Shape) {
        let (mut fleet, gate, one) = one(shape).await;
        let two_engine = TestEngine::open(2);
        let stuck = fleet.stuck_pull().await;
        assert_eq!(fleet.job(stuck.job).await.host_id, Some(one));
        let two = fleet.start_worker_on("two", &two_engine.url).await;
        fleet.kill_worker().await;
        stuck.proxy.open();
        let job = fleet.succeeds(stuck.job).await;
        assert_eq!(job.host_id, Some(two));
        assert_eq!(workers(&fleet, job.id).await, ["one", "two"]);
        assert!(two_engine.inspect(&stuck.id).await.is_some());

        // Whatever the first attempt left is tidied up when its host is back.
        fleet.start_worker_on("one", &gate.url).await;
        fleet.engine.loses(&stuck.id).await;
        assert_eq!(fleet.image(job.image_id.unwrap()).await.host_id, two);
        fleet.finish().await;
    }
}

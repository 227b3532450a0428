//! Hosts that are to take no new jobs.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, JobState, host};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::set_host_schedulable::set_host_schedulable;
use wharfinger_jobs::error::UserErrorCode;

use crate::administration::audited;
use crate::support::engine::TestEngine;
use crate::support::{Fleet, Shape, eventually, on_every_shape, refusal};

on_every_shape!(
    a_drained_host_ends_what_runs_and_what_waits_leaves,
    a_drained_host_without_another_ends_everything,
    a_pull_that_moves_while_it_is_claimed_runs_once,
);

async fn set(fleet: &Fleet, host: Uuid, schedulable: bool) -> host::Model {
    let actor = Actor::Program("test");
    let set = set_host_schedulable(&fleet.services, &actor, Some(host), schedulable);
    set.await.unwrap()
}

async fn a_drained_host_ends_what_runs_and_what_waits_leaves(shape: Shape) {
    let mut fleet = Fleet::idle(shape, |settings| settings.worker.concurrency = 1).await;
    let (url, two_engine) = (fleet.engine.url.clone(), TestEngine::open(2));
    let one = fleet.start_worker_on("one", &url).await;
    let repository = fleet.repository();
    for tag in ["held", "queued", "named", "new"] {
        fleet.push(&repository, tag, 100_000).await;
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
    assert!(!set(&fleet, one, false).await.schedulable);

    let job = fleet.succeeds(queued).await;
    assert_eq!(job.host_id, Some(two), "{job:?}");
    let new = fleet.pull(user, &repository.tag("new")).await;
    assert_eq!(new.host_id, Some(two));
    let reference = repository.tag("new");
    let refused = fleet.try_pull_onto(Some(one), user, &reference).await;
    assert_eq!(refused.unwrap_err().code, UserErrorCode::HostUnavailable);
    assert_eq!(fleet.job(running).await.state, JobState::Running);
    stuck.proxy.open();
    for id in [running, named, removal] {
        let job = fleet.ends(id, JobState::Succeeded, 1).await;
        assert_eq!(job.host_id, Some(one), "{job:?}");
    }
    fleet.succeeds(new.id).await;

    // Again changes nothing, and is no act.
    set(&fleet, one, false).await;
    assert!(set(&fleet, one, true).await.schedulable);
    let back = fleet.try_pull_onto(Some(one), user, &reference).await;
    fleet.succeeds(back.unwrap().id).await;
    let unknown = set_host_schedulable(&fleet.services, &Actor::Program("test"), None, true);
    assert_eq!(refusal(unknown.await).code, UserErrorCode::HostNotFound);
    let log = audited(&fleet).await;
    let acts: Vec<_> = log
        .iter()
        .map(|entry| (entry.action, entry.subject_id, entry.details.clone()))
        .collect();
    let act = |schedulable: bool| {
        let details = json!({"schedulable": schedulable});
        (AuditAction::SetHostSchedulable, Some(one), details)
    };
    assert_eq!(acts, [act(false), act(true)]);
    fleet.finish().await;
}

async fn a_drained_host_without_another_ends_everything(shape: Shape) {
    let mut fleet = Fleet::idle(shape, |settings| settings.worker.concurrency = 1).await;
    let url = fleet.engine.url.clone();
    let one = fleet.start_worker_on("one", &url).await;
    let stuck = fleet.stuck_pull().await;
    fleet.push(&stuck.repository, "2", 400_000).await;
    let queued = fleet.pull(stuck.user, &stuck.repository.tag("2")).await.id;
    set(&fleet, one, false).await;
    stuck.proxy.open();
    for id in [stuck.job, queued] {
        fleet.succeeds(id).await;
    }
    fleet.finish().await;
}

/// Two hosts, drained and let back in by turns, as fast as can be, while jobs are claimed and run.
async fn a_pull_that_moves_while_it_is_claimed_runs_once(shape: Shape) {
    const JOBS: usize = 30;
    let mut fleet = Fleet::idle(shape, |settings| {
        settings.worker.concurrency = 1;
        // On a machine that does other things too, nobody is to be taken for vanished.
        settings.worker.lease = Duration::from_mins(1);
    })
    .await;
    let engines = [TestEngine::open(1), TestEngine::open(2)];
    let one = fleet.start_worker_on("one", &engines[0].url).await;
    let two = fleet.start_worker_on("two", &engines[1].url).await;
    let repository = fleet.repository();
    let mut images = Vec::new();
    for tag in 0..JOBS {
        images.push(fleet.push(&repository, &tag.to_string(), 1000).await);
    }
    let user = fleet.user("100").await;
    let mut jobs = Vec::new();
    for tag in 0..JOBS {
        let reference = repository.tag(&tag.to_string());
        jobs.push(fleet.pull(user, &reference).await.id);
    }
    let (mut drained, mut other) = (one, two);
    let mut moved = 0;
    for id in &jobs {
        eventually(&format!("job {id} ends"), || async {
            fleet.job(*id).await.state.is_final().then_some(())
        })
        .await;
        set(&fleet, drained, true).await;
        (drained, other) = (other, drained);
        set(&fleet, drained, false).await;
    }
    set(&fleet, drained, true).await;
    for (id, image) in jobs.iter().zip(&images) {
        let job = fleet.job(*id).await;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
        let attempts = fleet.attempts(*id).await;
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        let on_one = job.host_id == Some(one);
        let host = if on_one { "one/" } else { "two/" };
        let of_host = attempts[0].worker.starts_with(host);
        assert!(of_host, "{job:?} {attempts:?}");
        let here = engines[0].inspect(image).await.is_some();
        let there = engines[1].inspect(image).await.is_some();
        assert_eq!((here, there), (on_one, !on_one), "{job:?}");
        moved += usize::from(job.ordinal > i64::try_from(JOBS).unwrap());
    }
    println!("{moved} of {JOBS} jobs moved");
    assert!(moved > 0, "nothing moved while jobs were claimed");
    fleet.finish().await;
}

//! Hosts that are to take no new jobs.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, JobState, host};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::set_host_schedulable::set_host_schedulable;
use wharfinger_jobs::error::{ServiceError, UserErrorCode};

use crate::administration::audited;
use crate::support::engine::TestEngine;
use crate::support::images::{Repository, random_image};
use crate::support::proxy::Proxy;
use crate::support::{Fleet, Shape, eventually, on_every_shape};

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
    let proxy = Proxy::start(&fleet.registry.address).await;
    let slow = Repository::at(&proxy.address);
    slow.push(&fleet.registry, "1", &random_image(400_000))
        .await;
    let repository = fleet.repository();
    for tag in ["held", "queued", "named", "new"] {
        let image = random_image(100_000);
        repository.push(&fleet.registry, tag, &image).await;
    }
    let user = fleet.user("100").await;
    let held = fleet.pulled(user, &repository.tag("held")).await;
    proxy.block();
    let running = fleet.pull(user, &slow.tag("1")).await.id;
    proxy.stuck().await;
    let queued = fleet.pull(user, &repository.tag("queued")).await.id;
    let named = fleet
        .try_pull_onto(Some(one), user, &repository.tag("named"))
        .await
        .unwrap()
        .id;
    let removal = fleet.try_remove(user, held.id).await.unwrap().id;
    let two = fleet.start_worker_on("two", &two_engine.url).await;
    assert!(!set(&fleet, one, false).await.schedulable);

    let job = fleet.ended(queued).await;
    assert_eq!(
        (job.state, job.host_id),
        (JobState::Succeeded, Some(two)),
        "{job:?}"
    );
    let new = fleet.pull(user, &repository.tag("new")).await;
    assert_eq!(new.host_id, Some(two));
    let reference = repository.tag("new");
    let refused = fleet.try_pull_onto(Some(one), user, &reference);
    assert_eq!(
        refused.await.unwrap_err().code,
        UserErrorCode::HostUnavailable
    );
    assert_eq!(fleet.job(running).await.state, JobState::Running);
    proxy.open();
    for id in [running, named, removal] {
        let job = fleet.ended(id).await;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
        assert_eq!(job.host_id, Some(one), "{job:?}");
        assert_eq!(job.attempt, 1);
    }
    assert_eq!(fleet.ended(new.id).await.state, JobState::Succeeded);

    // Again changes nothing, and is no act.
    set(&fleet, one, false).await;
    assert!(set(&fleet, one, true).await.schedulable);
    let back = fleet.try_pull_onto(Some(one), user, &reference);
    let back = back.await.unwrap();
    assert_eq!(fleet.ended(back.id).await.state, JobState::Succeeded);
    let unknown = set_host_schedulable(&fleet.services, &Actor::Program("test"), None, true);
    match unknown.await {
        Err(ServiceError::Rejected(error)) => assert_eq!(error.code, UserErrorCode::HostNotFound),
        other => panic!("{other:?}"),
    }
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
    let proxy = Proxy::start(&fleet.registry.address).await;
    let slow = Repository::at(&proxy.address);
    for tag in ["1", "2"] {
        slow.push(&fleet.registry, tag, &random_image(400_000))
            .await;
    }
    let user = fleet.user("100").await;
    proxy.block();
    let running = fleet.pull(user, &slow.tag("1")).await.id;
    proxy.stuck().await;
    let queued = fleet.pull(user, &slow.tag("2")).await.id;
    set(&fleet, one, false).await;
    proxy.open();
    for id in [running, queued] {
        let job = fleet.ended(id).await;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
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
        let image = random_image(1000);
        let tag = tag.to_string();
        images.push(repository.push(&fleet.registry, &tag, &image).await);
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
        let host = if job.host_id == Some(one) {
            "one"
        } else {
            "two"
        };
        let of_host = attempts[0].worker.starts_with(&format!("{host}/"));
        assert!(of_host, "{job:?} {attempts:?}");
        let here = engines[0].inspect(image).await.is_some();
        let there = engines[1].inspect(image).await.is_some();
        assert_eq!((here, there), (host == "one", host == "two"), "{job:?}");
        moved += usize::from(job.ordinal > i64::try_from(JOBS).unwrap());
    }
    println!("{moved} of {JOBS} jobs moved");
    assert!(moved > 0, "nothing moved while jobs were claimed");
    fleet.finish().await;
}

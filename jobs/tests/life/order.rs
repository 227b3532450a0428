//! Whose turn it is.

use std::time::{Duration, Instant};

use wharfinger_entity::{ImageState, JobErrorCode, JobState};
use wharfinger_jobs::commands::cancel_job::cancel_job;

use crate::support::images::Repository;
use crate::support::proxy::Proxy;
use crate::support::stand_in::Registry;
use crate::support::{Fleet, Shape, eventually, on_every_shape};

on_every_shape!(
    a_users_many_jobs_let_another_user_pass,
    retries_of_one_user_let_another_user_pass,
    jobs_of_one_user_on_one_reference_run_in_order,
    a_removal_waits_for_the_pull_before_it,
    no_more_jobs_go_ahead_than_run_at_a_time,
);

async fn a_users_many_jobs_let_another_user_pass(shape: Shape) {
    let fleet = Fleet::with(shape, |settings| settings.worker.concurrency = 1).await;
    let stuck = fleet.stuck_pull().await;
    let (repository, one) = (&stuck.repository, fleet.user("100").await);
    let mut jobs = vec![stuck.job];
    for tag in 0..29 {
        let none = repository.tag(&format!("none-{tag}"));
        jobs.push(fleet.pull(stuck.user, &none).await.id);
    }
    let late = fleet.pull(one, &repository.tag("none")).await;
    stuck.proxy.open();
    let late = fleet.ended(late.id).await;
    let mut before = 0;
    for id in jobs {
        let job = fleet.ended(id).await;
        let started = job.started_at.unwrap();
        before += usize::from(started > late.created_at && started < late.started_at.unwrap());
    }
    assert!(before <= 1, "{before} jobs of the other user went first");
    fleet.finish().await;
}

/// One user's jobs are tried again all the time, for nothing.
async fn retries_of_one_user_let_another_user_pass(shape: Shape) {
    let fleet = Fleet::with(shape, |settings| {
        settings.worker.concurrency = 1;
        settings.retry.base_delay = Duration::from_millis(1);
        settings.retry.max_delay = Duration::from_millis(1);
    })
    .await;
    let limits = Registry::start().await;
    limits.ask_for_patience(u32::MAX, 0);
    let repository = fleet.repository();
    let (many, one) = (fleet.user("100").await, fleet.user("100").await);
    let mut jobs = Vec::new();
    for tag in 0..10 {
        let reference = format!("{}/a:{tag}", limits.address);
        jobs.push(fleet.pull(many, &reference).await.id);
    }
    let attempts = async || {
        let mut attempts = 0;
        for id in &jobs {
            attempts += fleet.job(*id).await.attempt;
        }
        attempts
    };
    eventually("all were tried twice", || async {
        (attempts().await >= 20).then_some(())
    })
    .await;
    let before = attempts().await;
    let mut of_one = Vec::new();
    for tag in 0..10 {
        let none = repository.tag(&format!("none-{tag}"));
        of_one.push(fleet.pull(one, &none).await.id);
    }
    for id in &of_one {
        fleet.fails(*id, JobErrorCode::ImageNotFound).await;
    }
    // They take turns: one each, and what was under way when the first came, and until it was looked.
    let meanwhile = attempts().await - before;
    assert!(
        meanwhile <= 25,
        "{meanwhile} retries while ten other jobs ran"
    );
    for id in jobs {
        let cancelled = cancel_job(&fleet.services, Some(many), Some(id)).await;
        cancelled.unwrap();
        fleet.ended(id).await;
    }
    fleet.finish().await;
}

async fn jobs_of_one_user_on_one_reference_run_in_order(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let (proxy, repository) = fleet.behind_proxy().await;
    fleet.push(&repository, "1", 400_000).await;
    let user = fleet.user("100").await;
    proxy.block();
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(fleet.pull(user, &repository.tag("1")).await.id);
    }
    proxy.stuck().await;
    proxy.open();
    let mut ended = None;
    for id in jobs {
        let job = fleet.ends(id, JobState::Succeeded, 1).await;
        assert!(job.started_at >= ended, "{job:?} before {ended:?}");
        ended = job.finished_at;
    }
    fleet.finish().await;
}

async fn a_removal_waits_for_the_pull_before_it(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let (proxy, repository) = fleet.behind_proxy().await;
    let reference = repository.tag("1");
    fleet.push(&repository, "1", 400_000).await;
    let user = fleet.user("100").await;
    let old = fleet.pulled(user, &reference).await;
    let id = fleet.push(&repository, "1", 400_000).await;
    proxy.block();
    let pull = fleet.pull(user, &reference).await;
    proxy.stuck().await;
    let removal = fleet.try_remove(user, old.id).await.unwrap();
    let again = fleet.pull(user, &reference).await;
    proxy.open();
    for job in [pull.id, removal.id, again.id] {
        fleet.succeeds(job).await;
    }
    assert_eq!(fleet.image(old.id).await.state, ImageState::Released);
    let held = fleet.job(again.id).await.image_id.unwrap();
    assert_eq!(fleet.image(held).await.state, ImageState::Held);
    assert_eq!(fleet.engine.id_of(&reference).await, Some(id));
    fleet.finish().await;
}

/// The worker is busy for as long as the test looks.
async fn no_more_jobs_go_ahead_than_run_at_a_time(shape: Shape) {
    let fleet = Fleet::with(shape, |settings| settings.worker.concurrency = 2).await;
    let proxy = Proxy::start(&fleet.registry.address).await;
    proxy.block();
    let mut jobs = Vec::new();
    for _ in 0..12 {
        let repository = Repository::at(&proxy.address);
        fleet.push(&repository, "1", 400_000).await;
        let user = fleet.user("100").await;
        jobs.push(fleet.pull(user, &repository.tag("1")).await.id);
    }
    let waiting = async || {
        let mut ahead = 0;
        for id in &jobs {
            let job = fleet.job(*id).await;
            ahead += usize::from(job.state == JobState::Queued && job.dispatched_at.is_some());
        }
        ahead
    };
    eventually("two run and two are ahead", || async {
        let mut running = 0;
        for id in &jobs {
            running += usize::from(fleet.job(*id).await.state == JobState::Running);
        }
        (running == 2 && waiting().await == 2).then_some(())
    })
    .await;
    // A dispatcher comes round each second, whether it is told to or not.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        assert_eq!(waiting().await, 2);
    }
    proxy.open();
    for id in jobs {
        fleet.succeeds(id).await;
    }
    fleet.finish().await;
}

//! What administrators do to queues and to other people's jobs.

use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _,
    QueryOrder as _,
};
use uuid::Uuid;
use wharfinger_entity::{
    AuditAction, Credits, ImageVisibility, JobErrorCode, JobState, Role, audit_entry, host, image,
    image_in_use, job, paused_queue,
};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::commands::cancel_job::{cancel_any_job, cancel_job};
use wharfinger_jobs::commands::discard_job::discard_job;
use wharfinger_jobs::commands::retry_dead_jobs::{DeadJobs, Redriven, retry_dead_jobs};
use wharfinger_jobs::commands::retry_job::{retry_any_job, retry_job};
use wharfinger_jobs::commands::set_host_schedulable::set_host_schedulable;
use wharfinger_jobs::commands::set_image_visibility::set_image_visibility;
use wharfinger_jobs::commands::set_queue_paused::set_queue_paused;
use wharfinger_jobs::error::{ServiceError, UserErrorCode};
use wharfinger_jobs::sweep_images::{SweepImages, sweep_images};

use crate::support::bare::Bare;
use crate::support::images::Repository;
use crate::support::{Fleet, Shape, StuckPull, credits, eventually, on_every_shape, refusal};

on_every_shape!(
    a_paused_queue_starts_nothing,
    dead_letters_are_redriven,
    as_many_as_asked_for_are_redriven,
    refused_dead_letters_keep_no_others_waiting,
    a_discarded_dead_letter_is_passed_by,
    an_administrator_changes_anothers_job,
    a_cancelled_pull_ends_on_the_engine,
    a_cancelled_pull_goes_on_for_others,
    containers_are_seen_and_forgotten,
    who_is_no_administrator_any_more_changes_nothing,
);

mod at_once {
    use super::two_redrives_at_once_share_the_dead_letters;

    crate::support::on_every_database!(two_redrives_at_once_share_the_dead_letters);
}

/// Somebody who may do everything.
pub(crate) fn eve() -> Actor {
    Actor::Program("eve")
}

/// What the audit log has, oldest first, but for the making of the fleet's users.
pub(crate) async fn audited(fleet: &Fleet) -> Vec<audit_entry::Model> {
    let log = audit_entry::Entity::find()
        .filter(audit_entry::Column::Action.ne(AuditAction::CreateUser))
        .order_by_asc(audit_entry::Column::Id);
    log.all(fleet.services.db.read()).await.unwrap()
}

fn acts(log: &[audit_entry::Model]) -> Vec<(AuditAction, Option<Uuid>)> {
    log.iter()
        .map(|entry| (entry.action, entry.subject_id))
        .collect()
}

/// Of the jobs that wait one was handed out before the pause and one not, and neither starts.
async fn a_paused_queue_starts_nothing(shape: Shape) {
    let fleet = Fleet::with(shape, |settings| settings.worker.concurrency = 1).await;
    let stuck = fleet.stuck_pull().await;
    let (repository, user) = (&stuck.repository, stuck.user);
    for tag in ["2", "3"] {
        fleet.push(repository, tag, 400_000).await;
    }
    let handed_out = fleet.pull(user, &repository.tag("2")).await.id;
    fleet.handed_out(handed_out).await;

    let queue = fleet.queue().await;
    let (services, actor) = (&fleet.services, eve());
    for _ in 0..2 {
        set_queue_paused(services, &actor, &queue.host, true)
            .await
            .unwrap();
    }
    let accepted = fleet.pull(user, &repository.tag("3")).await.id;
    stuck.proxy.open();
    // What runs goes on.
    fleet.succeeds(stuck.job).await;
    eventually("the worker turned the message away", || async {
        (!fleet.waits_in_queue(handed_out).await).then_some(())
    })
    .await;
    for id in [handed_out, accepted] {
        let job = fleet.job(id).await;
        assert_eq!((job.state, job.attempt), (JobState::Queued, 0), "{job:?}");
    }
    assert_eq!(fleet.job(accepted).await.dispatched_at, None);
    let queue = fleet.queue().await;
    assert!(queue.paused && queue.oldest_queued.is_some(), "{queue:?}");
    assert_eq!((queue.queued, queue.running), (2, 0), "{queue:?}");

    for _ in 0..2 {
        set_queue_paused(services, &actor, &queue.host, false)
            .await
            .unwrap();
    }
    for id in [handed_out, accepted] {
        fleet.ends(id, JobState::Succeeded, 1).await;
    }
    let queue = fleet.queue().await;
    assert!(!queue.paused && queue.oldest_queued.is_none(), "{queue:?}");
    // What changed nothing is not in the log.
    let log = audited(&fleet).await;
    let act = (AuditAction::SetQueuePaused, Some(queue.host_id));
    assert_eq!(acts(&log), [act, act]);
    assert_eq!(log[0].subject, queue.host);
    assert_eq!(log[0].details, serde_json::json!({"paused": true}));
    let unknown = set_queue_paused(services, &actor, "nowhere", true).await;
    assert_eq!(refusal(unknown).code, UserErrorCode::NotFound);
    fleet.finish().await;
}

/// A pull that died.
async fn dead(fleet: &Fleet, user: Uuid) -> job::Model {
    let job = fleet.pull(user, &Repository::nowhere().tag("1")).await;
    let job = fleet.ended(job.id).await;
    assert_eq!(job.state, JobState::Dead, "{job:?}");
    job
}

/// So many dead letters, of any kind.
fn up_to(limit: i32) -> DeadJobs {
    DeadJobs {
        limit,
        ..DeadJobs::default()
    }
}

fn ids(redriven: &Redriven) -> (Vec<Uuid>, Vec<Uuid>) {
    let jobs = redriven.jobs.iter().map(|job| job.id).collect();
    let refused = redriven.refused.iter().map(|(id, _)| *id).collect();
    (jobs, refused)
}

async fn dead_letters_are_redriven(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| settings.limits.live_jobs_per_user = 1).await;
    let (rich, poor) = (fleet.user("100").await, fleet.user("1.5").await);
    let first = dead(&fleet, rich).await;
    let unaffordable = dead(&fleet, poor).await;
    let second = dead(&fleet, rich).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 600_000).await;
    fleet.pulled(poor, &repository.tag("1")).await;
    fleet.stop_worker().await;
    let queue = fleet.queue().await;
    assert_eq!(queue.dead, 3);

    let (services, actor) = (&fleet.services, eve());
    let which = |queue: Option<&str>, error_code, limit| DeadJobs {
        queue: queue.map(str::to_owned),
        error_code,
        limit,
    };
    for limit in [-1, 0, 1001] {
        let refused = retry_dead_jobs(services, &actor, &which(None, None, limit)).await;
        assert_eq!(refusal(refused).code, UserErrorCode::InvalidInput);
    }
    let unknown = retry_dead_jobs(services, &actor, &which(Some("nowhere"), None, 1)).await;
    assert_eq!(refusal(unknown).code, UserErrorCode::NotFound);
    let others = which(Some(&queue.host), Some(JobErrorCode::Stalled), 100);
    let none = retry_dead_jobs(services, &actor, &others).await.unwrap();
    assert_eq!(none, Redriven::default());

    let code = first.error_code;
    assert_eq!(code, Some(JobErrorCode::RegistryUnavailable));
    let all = which(Some(&queue.host), code, 100);
    let redriven = retry_dead_jobs(services, &actor, &all).await.unwrap();
    let refused = vec![unaffordable.id];
    assert_eq!(ids(&redriven), (vec![first.id, second.id], refused.clone()));
    let (_, error) = &redriven.refused[0];
    assert_eq!(error.code, UserErrorCode::InsufficientCredits);
    for job in &redriven.jobs {
        assert_eq!(job.state, JobState::Queued);
        assert_eq!((job.attempt, job.max_attempts), (3, 6), "{job:?}");
    }
    let held = fleet.account(rich).await.held;
    assert_eq!(held, credits("2"));
    assert_eq!(fleet.account(poor).await.held, Credits::ZERO);
    let act = AuditAction::RetryDeadJobs;
    let log = audited(&fleet).await;
    assert_eq!(
        acts(&log),
        [(act, Some(first.id)), (act, Some(second.id))],
        "what was refused is not in the log"
    );

    let again = retry_dead_jobs(services, &actor, &all).await.unwrap();
    assert_eq!(ids(&again), (vec![], refused));
    assert_eq!(fleet.account(rich).await.held, held);
    fleet.finish().await;
}

async fn as_many_as_asked_for_are_redriven(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let mut letters = Vec::new();
    for _ in 0..3 {
        letters.push(dead(&fleet, user).await.id);
    }
    fleet.stop_worker().await;
    for expected in [&letters[..2], &letters[2..]] {
        let redriven = retry_dead_jobs(&fleet.services, &eve(), &up_to(2)).await;
        assert_eq!(ids(&redriven.unwrap()), (expected.to_vec(), vec![]));
    }
    fleet.finish().await;
}

/// Three that cannot be afforded are the oldest, and more than one call may run again.
async fn refused_dead_letters_keep_no_others_waiting(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let (rich, poor) = (fleet.user("100").await, fleet.user("1.5").await);
    let (mut too_poor, mut letters) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        too_poor.push(dead(&fleet, poor).await.id);
    }
    for _ in 0..2 {
        letters.push(dead(&fleet, rich).await.id);
    }
    let repository = fleet.repository();
    fleet.push(&repository, "1", 600_000).await;
    fleet.pulled(poor, &repository.tag("1")).await;
    fleet.stop_worker().await;
    let redrive = async || {
        let redriven = retry_dead_jobs(&fleet.services, &eve(), &up_to(1)).await;
        ids(&redriven.unwrap())
    };
    assert_eq!(redrive().await, (vec![letters[0]], too_poor.clone()));
    assert_eq!(redrive().await, (vec![letters[1]], vec![]));
    // With nothing else left they are looked at again, in vain, each time, and once in a call.
    for _ in 0..2 {
        assert_eq!(redrive().await, (vec![], too_poor.clone()));
    }
    fleet.finish().await;
}

async fn two_redrives_at_once_share_the_dead_letters(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let mut letters = Vec::new();
    for _ in 0..6 {
        letters.push(dead(&fleet, user).await.id);
    }
    fleet.stop_worker().await;
    let all = up_to(100);
    let (services, actor) = (&fleet.services, eve());
    let (one, two) = tokio::join!(
        retry_dead_jobs(services, &actor, &all),
        retry_dead_jobs(services, &actor, &all)
    );
    let ((mut redriven, refused), (others, also_refused)) =
        (ids(&one.unwrap()), ids(&two.unwrap()));
    redriven.extend(others);
    redriven.sort_unstable();
    assert_eq!(redriven, letters);
    assert!(refused.is_empty() && also_refused.is_empty());
    assert_eq!(audited(&fleet).await.len(), letters.len());
    assert_eq!(fleet.account(user).await.held, credits("6"));
    fleet.finish().await;
}

async fn a_discarded_dead_letter_is_passed_by(shape: Shape) {
    let mut fleet = Fleet::start(shape).await;
    let user = fleet.user("100").await;
    let letter = dead(&fleet, user).await;
    fleet.stop_worker().await;
    let (services, actor) = (&fleet.services, eve());
    let discard = async || discard_job(services, &actor, Some(letter.id)).await;
    let discarded = discard().await.unwrap();
    assert_eq!(discarded.state, JobState::Dead);
    let again = discard().await.unwrap();
    assert!(again.discarded_at.is_some());
    assert_eq!(again.discarded_at, discarded.discarded_at);
    let act = (AuditAction::DiscardJob, Some(letter.id));
    assert_eq!(acts(&audited(&fleet).await), [act]);
    assert_eq!(fleet.queue().await.dead, 0);
    let none = retry_dead_jobs(services, &actor, &up_to(100)).await;
    assert_eq!(none.unwrap(), Redriven::default());

    // Whoever names it brings it back.
    let back = retry_job(services, user, Some(user), Some(letter.id), None).await;
    let back = back.unwrap();
    assert_eq!((back.state, back.discarded_at), (JobState::Queued, None));
    assert_eq!(refusal(discard().await).code, UserErrorCode::InvalidInput);
    let unknown = discard_job(services, &actor, Some(Uuid::now_v7())).await;
    assert_eq!(refusal(unknown).code, UserErrorCode::JobNotFound);
    fleet.finish().await;
}

async fn an_administrator_changes_anothers_job(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| settings.limits.live_jobs_per_user = 1).await;
    fleet.stop_worker().await;
    let user = fleet.user("100").await;
    let admin = fleet.new_user(Role::Admin, "100").await;
    let actor = Actor::from(&fleet.account(admin).await);
    let services = &fleet.services;
    let job = fleet.pull(user, &fleet.repository().tag("1")).await.id;
    let cancelled = cancel_any_job(services, &actor, Some(job)).await.unwrap();
    assert_eq!(cancelled.state, JobState::Cancelled);
    // The user's own job is at the limit, which an administrator is not bound by.
    fleet.pull(user, &fleet.repository().tag("2")).await;
    let refused = retry_job(services, user, Some(user), Some(job), None).await;
    assert_eq!(refusal(refused).code, UserErrorCode::TooManyJobs);
    let key = Some("once");
    for _ in 0..2 {
        let retried = retry_any_job(services, admin, &actor, Some(job), key).await;
        assert_eq!(retried.unwrap().state, JobState::Queued);
    }
    let log = audited(&fleet).await;
    assert_eq!(
        acts(&log),
        [
            (AuditAction::CancelJob, Some(job)),
            (AuditAction::RetryJob, Some(job)),
        ]
    );
    let name = fleet.account(user).await.name;
    assert!(log.iter().all(|entry| entry.details["user"] == name));
    assert!(log.iter().all(|entry| entry.actor_id == Some(admin)));

    // Their own are nobody else's business.
    let own = fleet.pull(admin, &fleet.repository().tag("1")).await.id;
    cancel_any_job(services, &actor, Some(own)).await.unwrap();
    retry_any_job(services, admin, &actor, Some(own), None)
        .await
        .unwrap();
    let refused = cancel_any_job(services, &actor, Some(Uuid::now_v7())).await;
    assert_eq!(refusal(refused).code, UserErrorCode::JobNotFound);
    // What came to nothing is not in the log, and what was is as it was.
    let ended = cancel_job(services, Some(user), Some(job)).await.unwrap();
    assert_eq!(ended.state, JobState::Cancelled);
    let too_late = cancel_any_job(services, &actor, Some(job)).await;
    assert_eq!(refusal(too_late).code, UserErrorCode::JobNotCancellable);
    assert_eq!(audited(&fleet).await, log);
    fleet.finish().await;
}

/// The registry's side tells: the engine hangs up long before it has the layer. It may notice only when bytes come.
async fn a_cancelled_pull_ends_on_the_engine(shape: Shape) {
    const SIZE: usize = 40_000_000;
    let fleet = Fleet::start(shape).await;
    let (proxy, repository) = fleet.behind_proxy().await;
    let id = fleet.push(&repository, "1", SIZE).await;
    let user = fleet.user("100").await;
    proxy.block();
    let job = fleet.pull(user, &repository.tag("1")).await.id;
    proxy.stuck().await;
    let cancelled = cancel_any_job(&fleet.services, &eve(), Some(job)).await;
    assert_eq!(cancelled.unwrap().state, JobState::Running);
    assert_eq!(fleet.ended(job).await.state, JobState::Cancelled);
    assert_eq!(fleet.account(user).await.held, Credits::ZERO);
    proxy.open();
    let carried = proxy.given_up().await;
    assert!(carried < SIZE / 2, "{carried} of {SIZE} bytes");
    assert_eq!(fleet.engine.inspect(&id).await, None);
    fleet.finish().await;
}

async fn a_cancelled_pull_goes_on_for_others(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let StuckPull {
        proxy,
        repository,
        id,
        job,
        ..
    } = fleet.stuck_pull().await;
    let other = fleet.user("100").await;
    let joined = fleet.pull(other, &repository.tag("1")).await.id;
    fleet.downloads(joined).await;
    let cancelled = cancel_any_job(&fleet.services, &eve(), Some(job)).await;
    cancelled.unwrap();
    assert_eq!(fleet.ended(job).await.state, JobState::Cancelled);
    assert!(proxy.is_stuck());
    proxy.open();
    fleet.ends(joined, JobState::Succeeded, 1).await;
    assert_eq!(proxy.layers(), 1, "it was fetched once");
    assert!(fleet.engine.inspect(&id).await.is_some());
    fleet.finish().await;
}

async fn containers_are_seen_and_forgotten(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    let id = fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    let in_use = || async {
        let seen = image_in_use::Entity::find_by_id(image.engine_image_id);
        seen.one(fleet.services.db.read()).await.unwrap()
    };
    let container = fleet.engine.create_container(&id).await;
    let seen = eventually("the container is seen", in_use).await;
    assert_eq!(seen.host_id, image.host_id);
    fleet.engine.remove_container(&container).await;
    eventually("it is forgotten", || async {
        in_use().await.is_none().then_some(())
    })
    .await;
    fleet.finish().await;
}

fn turned_away<T: std::fmt::Debug>(what: &str, answer: Result<T, ServiceError>) {
    match answer {
        Err(ServiceError::NotAllowed(_)) => {}
        other => panic!("{what}: {other:?}"),
    }
}

/// The gateway let the request in a moment before the right was taken away.
async fn who_is_no_administrator_any_more_changes_nothing(shape: Shape) {
    let bare = Bare::start(shape).await;
    let services = &bare.services;
    let host_id = bare.host(|_| ()).await;
    let (owner, demoted) = (bare.user().await, bare.user().await);
    let waiting = bare.pull(owner, Some(host_id), "127.0.0.1:5000/a:1").await;
    let dead = bare.pull(owner, Some(host_id), "127.0.0.1:5000/a:2").await;
    cancel_job(services, Some(owner), Some(dead.id))
        .await
        .unwrap();
    let letter = job::ActiveModel {
        id: Set(dead.id),
        state: Set(JobState::Dead),
        ..Default::default()
    };
    letter.update(services.db.write()).await.unwrap();
    let image = bare.hold(host_id, Some(owner), "127.0.0.1:5000/a:3").await;
    let rows = async || {
        let db = services.db.read();
        (
            job::Entity::find().all(db).await.unwrap(),
            image::Entity::find().all(db).await.unwrap(),
            host::Entity::find().all(db).await.unwrap(),
            paused_queue::Entity::find().all(db).await.unwrap(),
            audit_entry::Entity::find().all(db).await.unwrap(),
        )
    };
    let before = rows().await;
    let host = &before.2[0].name;
    let actor = Actor::User(demoted, "ada".into());
    let sweep = SweepImages {
        actor: actor.clone(),
        hosts: None,
        traceparent: None,
    };
    let (waiting, dead, public) = (Some(waiting.id), Some(dead.id), ImageVisibility::Public);
    let published = set_image_visibility(services, &actor, Some(image), public).await;
    turned_away("publishes", published);
    turned_away("sweeps", sweep_images(services, &sweep).await);
    let paused = set_queue_paused(services, &actor, host, true).await;
    turned_away("pauses", paused);
    let drained = set_host_schedulable(services, &actor, Some(host_id), false).await;
    turned_away("drains", drained);
    turned_away("discards", discard_job(services, &actor, dead).await);
    let redriven = retry_dead_jobs(services, &actor, &up_to(100)).await;
    turned_away("redrives", redriven);
    turned_away("cancels", cancel_any_job(services, &actor, waiting).await);
    let retried = retry_any_job(services, demoted, &actor, dead, None).await;
    turned_away("retries", retried);
    assert_eq!(rows().await, before);
}

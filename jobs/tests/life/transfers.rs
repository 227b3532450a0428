//! When a transfer is given up, and what becomes of those who joined it. The engine is a stand-in that misbehaves as ordered.

use std::time::Duration;

use axum::http::StatusCode;
use futures::StreamExt as _;
use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState};
use wharfinger_jobs::progress::PullPhase;
use wharfinger_jobs::settings::Settings;

use crate::support::stand_in::{Engine, Image, PullFault, Registry};
use crate::support::{Fleet, Shape, eventually, in_time};

const STALL: Duration = Duration::from_secs(1);

struct Scene {
    fleet: Fleet,
    engine: Engine,
    reference: String,
    ada: Uuid,
    bob: Uuid,
    registry: Registry,
}

impl Scene {
    async fn set(change: impl FnOnce(&mut Settings)) -> Self {
        let registry = Registry::start().await;
        let engine = Engine::start(&registry).await;
        let fleet = Fleet::at_engine(Shape::Embedded, &engine.url, |settings| {
            settings.worker.stall_timeout = STALL;
            settings.retry.max_attempts = 3;
            change(settings);
        })
        .await;
        registry.push("r", "1", &Image::new("an image", 2_000_000, 1_000_000), 0);
        Self {
            reference: format!("{}/r:1", registry.address),
            ada: fleet.user("100").await,
            bob: fleet.user("100").await,
            fleet,
            engine,
            registry,
        }
    }

    async fn pull(&self, user: Uuid) -> Uuid {
        self.fleet.pull(user, &self.reference).await.id
    }

    /// Waits until a job follows a transfer.
    async fn downloads(&self, job: Uuid) {
        let frames = self.fleet.watches.follow(&self.fleet.services, job);
        let mut frames = std::pin::pin!(frames);
        in_time("a transfer", async {
            while let Some(frame) = frames.next().await {
                if frame.snapshot.phase == PullPhase::Downloading {
                    return;
                }
            }
            panic!("the watch of job {job} ended");
        })
        .await;
    }

    /// Waits until a job has run for longer than half of what makes a stall.
    async fn has_run_for_a_while(&self, job: Uuid) {
        eventually("half of the time is up", || async {
            let attempts = self.fleet.attempts(job).await;
            let began = attempts.first()?.started_at;
            (began.after(STALL / 2) < self.fleet.services.clock.now()).then_some(())
        })
        .await;
    }
}

/// The layer is fetched, and unpacking it takes three times as long as a pull may stand still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_is_unpacked_for_long_is_no_stall() {
    let scene = Scene::set(|_| ()).await;
    scene.engine.unpack();
    let job = scene.pull(scene.ada).await;
    scene.engine.has_unpacked_for(3 * STALL).await;
    scene.engine.open();
    scene.fleet.ends(job, JobState::Succeeded, 1).await;
    scene.fleet.finish().await;
}

/// Bob joins when half of Ada's patience is up: he gives up with her, and their next attempts do not wait for the dead one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_keeps_a_dead_transfer_alive() {
    let scene = Scene::set(|_| ()).await;
    scene.engine.fail_pulls(PullFault::Silent, 1);
    let of_ada = scene.pull(scene.ada).await;
    scene.has_run_for_a_while(of_ada).await;
    let of_bob = scene.pull(scene.bob).await;
    for id in [of_ada, of_bob] {
        scene.fleet.ends(id, JobState::Succeeded, 2).await;
        let first = &scene.fleet.attempts(id).await[0];
        assert_eq!(first.error_code, Some(JobErrorCode::Stalled), "{first:?}");
    }
    assert!(scene.engine.pulls() > 1);
    scene.fleet.finish().await;
}

/// The registry refuses a layer to the login with which the transfer began: that says nothing of who joined it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_for_whoever_began_the_transfer() {
    let scene = Scene::set(|_| ()).await;
    scene.engine.block();
    scene.engine.fail_pulls(PullFault::Denied, 1);
    let of_ada = scene.pull(scene.ada).await;
    scene.engine.stuck(1).await;
    let of_bob = scene.pull(scene.bob).await;
    scene.downloads(of_bob).await;
    assert_eq!(scene.engine.pulls(), 1, "he waits for the same transfer");
    scene.engine.open();
    scene
        .fleet
        .fails(of_ada, JobErrorCode::RegistryDenied)
        .await;
    scene.fleet.succeeds(of_bob).await;
    scene.fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_takes_too_long_is_tried_again() {
    let scene = Scene::set(|settings| {
        settings.worker.stall_timeout = Duration::from_mins(1);
        settings.worker.pull_timeout = STALL;
    })
    .await;
    scene.engine.unpack();
    let job = scene.pull(scene.ada).await;
    eventually("the first attempt ends", || async {
        let attempts = scene.fleet.attempts(job).await;
        attempts.first()?.finished_at
    })
    .await;
    scene.engine.open();
    let job = scene.fleet.succeeds(job).await;
    let first = &scene.fleet.attempts(job.id).await[0];
    assert_eq!(first.error_code, Some(JobErrorCode::TimedOut), "{first:?}");
    assert_eq!(
        first.error_message.as_deref(),
        Some("the pull took longer than 1s")
    );
    scene.fleet.finish().await;
}

/// Who has to act is told in the words of whoever refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engines_words_are_kept_and_the_registrys_told() {
    let scene = Scene::set(|_| ()).await;
    scene.engine.fail_pulls(PullFault::DiskFull, 3);
    let job = scene.pull(scene.ada).await;
    let job = scene.fleet.ended(job).await;
    assert_eq!(
        (job.state, job.error_code),
        (JobState::Dead, Some(JobErrorCode::DiskFull)),
        "{job:?}"
    );
    let words = "write /var/lib/docker/tmp/x: no space left on device";
    assert!(job.error_message.unwrap().contains(words));
    for attempt in scene.fleet.attempts(job.id).await {
        assert!(attempt.error_message.unwrap().contains(words));
    }

    scene.registry.refuse(StatusCode::BAD_GATEWAY, 3);
    let job = scene.pull(scene.bob).await;
    let job = scene.fleet.ended(job).await;
    let unavailable = Some(JobErrorCode::RegistryUnavailable);
    assert_eq!(job.error_code, unavailable, "{job:?}");
    let message = job.error_message.unwrap();
    assert!(message.contains("it answered 502 Bad Gateway"), "{message}");
    scene.fleet.finish().await;
}

/// An engine that takes its time when the tag is put back costs nobody their job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_kept_until_the_end_is_recorded() {
    let scene = Scene::set(|_| ()).await;
    scene.fleet.pulled(scene.ada, &scene.reference).await;
    let moved = Image::new("another", 2_000_000, 1_000_000);
    scene.registry.push("r", "1", &moved, 0);
    scene.engine.block();
    scene.engine.refuse(&moved);
    let job = scene.pull(scene.bob).await;
    scene.engine.stops_at_its_look().await;
    let lease = || async { scene.fleet.job(job).await.lease_until };
    let mut until = lease().await;
    for _ in 0..2 {
        until = eventually("the lease is renewed", || async {
            let now = lease().await;
            (now > until).then_some(now)
        })
        .await;
    }
    scene.engine.open_looks();
    scene.fleet.ends(job, JobState::Failed, 1).await;
    scene.fleet.finish().await;
}

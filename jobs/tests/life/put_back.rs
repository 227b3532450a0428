//! A tag goes back when the pull that moved it comes to nothing. The engine is a stand-in that misbehaves as ordered.

use std::time::Duration;

use wharfinger_entity::{JobErrorCode, JobState};
use wharfinger_jobs::cancel_job::cancel_job;

use crate::support::stand_in::{Engine, Image, Registry};
use crate::support::{Fleet, Shape, eventually, on_every_shape};

on_every_shape!(a_tag_goes_back_when_its_pull_is_cancelled_between_two_attempts);

/// Bob's first attempt moves the tag and fails; while he waits for the second nobody runs his job.
async fn a_tag_goes_back_when_its_pull_is_cancelled_between_two_attempts(shape: Shape) {
    let registry = Registry::start().await;
    let engine = Engine::start(&registry).await;
    let fleet = Fleet::at_engine(shape, &engine.url, |settings| {
        settings.retry.base_delay = Duration::from_hours(24);
        settings.retry.max_delay = Duration::from_hours(24);
    })
    .await;
    let [of_ada, of_bob] = ["ada's", "bob's"].map(|name| Image::new(name, 2_000_000, 1_000_000));
    let reference = format!("{}/r:1", registry.address);
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    registry.push("r", "1", &of_ada, 0);
    fleet.pulled(ada, &reference).await;
    registry.push("r", "1", &of_bob, 0);
    engine.hide_when_tagged(&of_bob);
    let job = fleet.pull(bob, &reference).await;
    fleet.reaches(job.id, JobState::Retrying).await;
    assert_eq!(engine.images().1.get(&reference), Some(&of_bob.id));
    cancel_job(&fleet.services, Some(bob), Some(job.id))
        .await
        .unwrap();
    assert_eq!(fleet.ended(job.id).await.state, JobState::Cancelled);
    eventually("Bob's image goes", || async {
        (!engine.images().0.contains(&of_bob.id)).then_some(())
    })
    .await;
    assert_eq!(engine.images().1.get(&reference), Some(&of_ada.id));
    fleet.finish().await;
}

/// The tag means one image at Bob's first attempt, which moves it and fails, and another at his second, which does not come
/// so far.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_goes_back_although_the_attempts_meant_different_images() {
    let registry = Registry::start().await;
    let engine = Engine::start(&registry).await;
    let fleet = Fleet::at_engine(Shape::Embedded, &engine.url, |_| ()).await;
    let [of_ada, first, second] =
        ["ada's", "first", "second"].map(|name| Image::new(name, 2_000_000, 1_000_000));
    let reference = format!("{}/r:1", registry.address);
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    registry.push("r", "1", &of_ada, 0);
    fleet.pulled(ada, &reference).await;
    assert_eq!(engine.images().1.get(&reference), Some(&of_ada.id));

    registry.push("r", "1", &first, 0);
    registry.push_after_read("r", "1", &second);
    engine.hide_when_tagged(&first);
    engine.refuse(&second);
    let job = fleet.pull(bob, &reference).await;
    let job = fleet.ended(job.id).await;
    assert_eq!(
        (job.state, job.error_code, job.attempt),
        (JobState::Failed, Some(JobErrorCode::RegistryDenied), 2),
        "{job:?}"
    );
    eventually("the first image goes", || async {
        (!engine.images().0.contains(&first.id)).then_some(())
    })
    .await;
    assert_eq!(engine.images().1.get(&reference), Some(&of_ada.id));
    fleet.finish().await;
}

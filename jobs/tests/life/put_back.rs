//! A tag goes back when the pull that moved it comes to nothing. The engine is a stand-in that misbehaves as ordered.

use std::time::Duration;

use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState};
use wharfinger_jobs::commands::cancel_job::cancel_job;
use wharfinger_jobs::settings::Settings;

use crate::support::stand_in::{Engine, Image, Registry};
use crate::support::{Fleet, Shape, eventually, on_every_shape};

on_every_shape!(
    a_tag_goes_back_when_its_pull_is_cancelled_between_two_attempts,
    a_tag_goes_back_although_the_image_stays,
    a_tag_goes_back_to_where_it_was_before_two_pulls,
    a_tag_goes_back_after_a_worker_died_in_the_last_attempt,
    a_tag_goes_back_on_the_host_that_its_pull_left,
    a_tag_goes_back_before_its_image_is_removed,
    a_tag_that_comes_back_to_the_operators_image_stays,
    a_tag_goes_back_although_somebody_holds_the_image_by_it,
    a_tag_goes_back_although_the_attempts_meant_different_images,
    a_tag_of_a_settled_pull_stays_whatever_became_of_another,
);

/// A registry whose tag means an image of the operator's on the engine, and another one upstream.
struct Scene {
    registry: Registry,
    engine: Engine,
    fleet: Fleet,
    reference: String,
    operators: Image,
    upstream: Image,
}

impl Scene {
    /// Where a pull that failed waits for a day.
    async fn new(shape: Shape, change: impl FnOnce(&mut Settings)) -> Self {
        let registry = Registry::start().await;
        let engine = Engine::start(&registry).await;
        let fleet = Fleet::at_engine(shape, &engine.url, |settings| {
            settings.retry.base_delay = Duration::from_hours(24);
            settings.retry.max_delay = Duration::from_hours(24);
            change(settings);
        })
        .await;
        let [operators, upstream] =
            ["operator's", "upstream"].map(|name| Image::new(name, 2_000_000, 1_000_000));
        let reference = format!("{}/r:1", registry.address);
        engine.operator_pulls(&operators, &reference);
        registry.push("r", "1", &upstream, 0);
        Self {
            registry,
            engine,
            fleet,
            reference,
            operators,
            upstream,
        }
    }

    /// A pull whose first attempt moves the tag and fails.
    async fn moves(&self) -> (Uuid, Uuid) {
        let user = self.fleet.user("100").await;
        self.engine.hide_when_tagged(&self.upstream);
        let job = self.fleet.pull(user, &self.reference).await.id;
        self.fleet.reaches(job, JobState::Retrying).await;
        assert_eq!(self.means(), Some(self.upstream.id.clone()));
        (user, job)
    }

    async fn cancel(&self, (user, job): (Uuid, Uuid)) {
        cancel_job(&self.fleet.services, Some(user), Some(job))
            .await
            .unwrap();
        assert_eq!(self.fleet.ended(job).await.state, JobState::Cancelled);
    }

    fn means(&self) -> Option<String> {
        self.engine.images().1.get(&self.reference).cloned()
    }

    async fn comes_to_mean(&self, image: &Image) {
        eventually("the tag goes back", || async {
            (self.means().as_ref() == Some(&image.id)).then_some(())
        })
        .await;
    }

    fn has(&self, image: &Image) -> bool {
        self.engine.images().0.contains(&image.id)
    }

    /// Waits until an image that was brought in vain is gone.
    async fn loses(&self, image: &Image) {
        eventually("the image goes", || async {
            (!self.has(image)).then_some(())
        })
        .await;
    }

    /// Sets the tag on an image, behind Wharfinger's back.
    fn tag(&self, image: &Image) {
        assert!(self.engine.operator_tags(image, &self.reference));
    }

    /// Has a user pull the tag. Returns the holding.
    async fn pulled(&self, user: Uuid) -> Uuid {
        self.fleet.pulled(user, &self.reference).await.id
    }
}

/// While it waits for the second attempt nobody runs the pull.
async fn a_tag_goes_back_when_its_pull_is_cancelled_between_two_attempts(shape: Shape) {
    let scene = Scene::new(shape, |_| ()).await;
    let pull = scene.moves().await;
    scene.cancel(pull).await;
    scene.loses(&scene.upstream).await;
    assert_eq!(scene.means(), Some(scene.operators.id));
    scene.fleet.finish().await;
}

async fn a_tag_goes_back_although_the_image_stays(shape: Shape) {
    let scene = Scene::new(shape, |_| ()).await;
    let (engine, own) = (&scene.engine, "operators.own:1");
    engine.operator_pulls(&scene.upstream, own);
    let pull = scene.moves().await;
    scene.cancel(pull).await;
    scene.comes_to_mean(&scene.operators).await;
    assert!(scene.has(&scene.upstream));
    scene.fleet.finish().await;
}

/// The second finds the tag where the first moved it.
async fn a_tag_goes_back_to_where_it_was_before_two_pulls(shape: Shape) {
    let scene = Scene::new(shape, |_| ()).await;
    let first = scene.moves().await;
    let second = Image::new("second", 2_000_000, 1_000_000);
    scene.registry.push("r", "1", &second, 0);
    scene.engine.hide_when_tagged(&second);
    let user = scene.fleet.user("100").await;
    let job = scene.fleet.pull(user, &scene.reference).await.id;
    scene.fleet.reaches(job, JobState::Retrying).await;
    assert_eq!(scene.means(), Some(second.id.clone()));
    scene.cancel(first).await;
    scene.loses(&scene.upstream).await;
    assert_eq!(scene.means(), Some(second.id));
    scene.cancel((user, job)).await;
    scene.comes_to_mean(&scene.operators).await;
    scene.fleet.finish().await;
}

async fn a_tag_goes_back_after_a_worker_died_in_the_last_attempt(shape: Shape) {
    let mut scene = Scene::new(shape, |settings| settings.retry.max_attempts = 1).await;
    let user = scene.fleet.user("100").await;
    scene.engine.block();
    let job = scene.fleet.pull(user, &scene.reference).await.id;
    scene.engine.stops_at_its_look().await;
    // As the worker is about to.
    scene.tag(&scene.upstream);
    scene.fleet.kill_worker().await;
    scene.engine.open_looks();
    scene.fleet.start_worker_at(&scene.engine.url).await;
    assert_eq!(scene.fleet.ended(job).await.state, JobState::Dead);
    scene.comes_to_mean(&scene.operators).await;
    scene.fleet.finish().await;
}

async fn a_tag_goes_back_on_the_host_that_its_pull_left(shape: Shape) {
    let soon = Duration::from_millis(1500);
    let mut scene = Scene::new(shape, |settings| settings.host.offline_after = soon).await;
    let (_, job) = scene.moves().await;
    let one = scene.fleet.job(job).await.host_id;
    scene.fleet.kill_worker().await;
    let elsewhere = Engine::start(&scene.registry).await;
    let two = scene.fleet.start_worker_on("two", &elsewhere.url).await;
    eventually("the pull moves", || async {
        (scene.fleet.job(job).await.host_id == Some(two)).then_some(())
    })
    .await;
    assert_ne!(one, Some(two));
    scene.fleet.start_worker_at(&scene.engine.url).await;
    scene.comes_to_mean(&scene.operators).await;
    scene.fleet.finish().await;
}

/// Ada lets go of the image before the reconciler comes round, and with it the tag would go.
async fn a_tag_goes_back_before_its_image_is_removed(shape: Shape) {
    let never = Duration::from_hours(24);
    let scene = Scene::new(shape, |settings| settings.reconcile.interval = never).await;
    scene.registry.push("r", "2", &scene.upstream, 0);
    let ada = scene.fleet.user("100").await;
    let other = format!("{}/r:2", scene.registry.address);
    let image = scene.fleet.pulled(ada, &other).await.id;
    let pull = scene.moves().await;
    scene.cancel(pull).await;
    scene.fleet.removed(ada, image).await;
    assert!(!scene.has(&scene.upstream));
    assert_eq!(scene.means(), Some(scene.operators.id));
    scene.fleet.finish().await;
}

/// The tag means the operator's image again upstream, while a pull waits that moved it away.
async fn a_tag_that_comes_back_to_the_operators_image_stays(shape: Shape) {
    let scene = Scene::new(shape, |_| ()).await;
    let (engine, own) = (&scene.engine, "operators.own:1");
    engine.operator_pulls(&scene.operators, own);
    let pull = scene.moves().await;
    scene.registry.push("r", "1", &scene.operators, 0);
    let ada = scene.fleet.user("100").await;
    let image = scene.pulled(ada).await;
    scene.cancel(pull).await;
    scene.fleet.removed(ada, image).await;
    assert_eq!(scene.means(), Some(scene.operators.id));
    scene.fleet.finish().await;
}

/// Ada holds the image by the tag since before the operator moved it.
async fn a_tag_goes_back_although_somebody_holds_the_image_by_it(shape: Shape) {
    let scene = Scene::new(shape, |_| ()).await;
    let ada = scene.fleet.user("100").await;
    scene.pulled(ada).await;
    scene.tag(&scene.operators);
    let pull = scene.moves().await;
    scene.cancel(pull).await;
    scene.comes_to_mean(&scene.operators).await;
    assert!(scene.has(&scene.upstream));
    scene.fleet.finish().await;
}

/// The tag means one image at Bob's first attempt, which moves it and fails, and another at his second, which does not come
/// so far.
async fn a_tag_goes_back_although_the_attempts_meant_different_images(shape: Shape) {
    let scene = Scene::new(shape, |settings| {
        settings.retry.base_delay = Duration::from_millis(50);
        settings.retry.max_delay = Duration::from_millis(200);
    })
    .await;
    let (fleet, registry) = (&scene.fleet, &scene.registry);
    let [first, second] = ["first", "second"].map(|name| Image::new(name, 2_000_000, 1_000_000));
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    scene.pulled(ada).await;
    assert_eq!(scene.means().as_ref(), Some(&scene.upstream.id));

    registry.push("r", "1", &first, 0);
    registry.push_after_read("r", "1", &second);
    scene.engine.hide_when_tagged(&first);
    scene.engine.refuse(&second);
    let job = fleet.pull(bob, &scene.reference).await;
    let job = fleet.fails(job.id, JobErrorCode::RegistryDenied).await;
    assert_eq!(job.attempt, 2, "{job:?}");
    scene.loses(&first).await;
    assert_eq!(scene.means().as_ref(), Some(&scene.upstream.id));
    scene.fleet.finish().await;
}

/// Ada's pull is settled on one image while Bob's, of another, is between two attempts.
async fn a_tag_of_a_settled_pull_stays_whatever_became_of_another(shape: Shape) {
    let scene = Scene::new(shape, |_| ()).await;
    let of_bob = scene.moves().await;
    let of_ada = Image::new("ada's", 2_000_000, 1_000_000);
    scene.registry.push("r", "1", &of_ada, 0);
    let ada = scene.fleet.user("100").await;
    scene.pulled(ada).await;
    // Bob's worker was slow: his tag comes last.
    scene.tag(&scene.upstream);
    scene.cancel(of_bob).await;
    scene.comes_to_mean(&of_ada).await;
    scene.fleet.finish().await;
}

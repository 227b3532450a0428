//! A lock or a lease that was lost: what was to be done under it is not done.

use std::time::Duration;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use wharfinger_entity::{ImageState, JobState, engine_image};

use crate::support::engine_gate::{EngineGate, Hold};
use crate::support::stand_in::{Engine, Image, Registry};
use crate::support::{Fleet, Shape, eventually, on_every_database};

on_every_database!(
    a_removal_that_lost_the_images_lock_deletes_nothing,
    a_lock_outlasts_the_change_that_the_engine_was_asked_for,
    an_attempt_that_was_taken_over_moves_no_tag,
    a_tag_that_goes_while_a_pull_waits_for_the_lock_is_set_again,
);

/// So that nothing but the jobs changes the engine.
const NEVER: Duration = Duration::from_hours(24);

/// Ada's image on an engine behind a gate.
struct Scene {
    fleet: Fleet,
    gate: EngineGate,
    reference: String,
    id: String,
    ada: uuid::Uuid,
    image: uuid::Uuid,
}

impl Scene {
    async fn new(shape: Shape) -> Self {
        let gated = Fleet::gated(shape, |settings| settings.reconcile.interval = NEVER);
        let (fleet, gate) = gated.await;
        let repository = fleet.repository();
        let id = fleet.push(&repository, "1", 100_000).await;
        let ada = fleet.user("100").await;
        let reference = repository.tag("1");
        let image = fleet.pulled(ada, &reference).await.id;
        Self {
            fleet,
            gate,
            reference,
            id,
            ada,
            image,
        }
    }

    async fn row(&self) -> engine_image::Model {
        let row = engine_image::Entity::find()
            .filter(engine_image::Column::ImageId.eq(&self.id))
            .one(self.fleet.services.db.read());
        row.await.unwrap().unwrap()
    }
}

/// The worker is about to delete, and is held up for so long that its lock is gone and Bob gets the image.
async fn a_removal_that_lost_the_images_lock_deletes_nothing(shape: Shape) {
    let scene = Scene::new(shape).await;
    let fleet = &scene.fleet;
    scene.gate.hold(Hold::LooksAtContainers);
    let removal = fleet.try_remove(scene.ada, scene.image).await.unwrap();
    eventually("the removal has the lock", || async {
        scene.row().await.lock_token
    })
    .await;
    scene.gate.holds().await;
    fleet.unlock_image(&scene.id).await;
    let bob = fleet.user("100").await;
    let of_bob = fleet.pulled(bob, &scene.reference).await;
    scene.gate.open();

    fleet.succeeds(removal.id).await;
    assert!(
        fleet.engine.inspect(&scene.id).await.is_some(),
        "Bob's image was deleted"
    );
    assert_eq!(fleet.image(of_bob.id).await.state, ImageState::Held);
    assert_eq!(fleet.image(scene.image).await.state, ImageState::Released);
    scene.fleet.finish().await;
}

/// If the worker dies now, the engine may take a minute, and nobody else is to have the image before that is over.
async fn a_lock_outlasts_the_change_that_the_engine_was_asked_for(shape: Shape) {
    let scene = Scene::new(shape).await;
    scene.gate.hold(Hold::Deletions);
    let fleet = &scene.fleet;
    let removal = fleet.try_remove(scene.ada, scene.image).await.unwrap();
    scene.gate.holds().await;
    let until = scene.row().await.lock_until.unwrap();
    let left = until.since(fleet.services.clock.now());
    // A slow machine may have taken a few seconds to look.
    assert!(left > Duration::from_mins(1), "{left:?}");
    scene.gate.open();
    fleet.succeeds(removal.id).await;
    // The reconciler, which heard that the image went, may have it for a moment.
    eventually("the lock is given back", || async {
        scene.row().await.lock_until.is_none().then_some(())
    })
    .await;
    scene.fleet.finish().await;
}

/// The worker renews so seldom that it does not hear that the job was taken from it.
async fn an_attempt_that_was_taken_over_moves_no_tag(shape: Shape) {
    let registry = Registry::start().await;
    let engine = Engine::start(&registry).await;
    let fleet = Fleet::at_engine(shape, &engine.url, |settings| {
        settings.worker.lease = Duration::from_mins(10);
        settings.worker.concurrency = 1;
        settings.retry.max_attempts = 1;
        settings.reconcile.interval = NEVER;
    })
    .await;
    let [operators, upstream, other] =
        ["operator's", "upstream", "other"].map(|name| Image::new(name, 2_000_000, 1_000_000));
    let reference = format!("{}/r:1", registry.address);
    engine.operator_pulls(&operators, &reference);
    registry.push("r", "1", &upstream, 0);
    registry.push("s", "1", &other, 0);
    let user = fleet.user("100").await;
    engine.block();
    let job = fleet.pull(user, &reference).await.id;
    engine.stops_at_its_look().await;

    fleet.let_lease_lapse(job).await;
    assert_eq!(fleet.ended(job).await.state, JobState::Dead);
    engine.open_looks();
    // The worker has one place only: the attempt that was cut off is over when another pull runs.
    let next = format!("{}/s:1", registry.address);
    fleet.pulled(user, &next).await;
    assert_eq!(engine.images().1.get(&reference), Some(&operators.id));
    fleet.finish().await;
}

/// Bob's pull is recorded, and a removal locks the image before it settles: so it looks at the engine again, where the tag is still,
/// and waits.
async fn a_tag_that_goes_while_a_pull_waits_for_the_lock_is_set_again(shape: Shape) {
    let scene = Scene::new(shape).await;
    let fleet = &scene.fleet;
    // The image stays when the tag goes.
    let other = fleet.repository().tag("kept");
    let (repository, _) = other.rsplit_once(':').unwrap();
    fleet.engine.tag(&scene.id, repository, "kept").await;
    let bob = fleet.user("100").await;
    scene.gate.hold(Hold::Pulls);
    let pull = fleet.pull(bob, &scene.reference).await;
    scene.gate.holds().await;
    fleet.lock_image(&scene.id).await;
    // What the pull brought, and what is there when its settle found the lock.
    scene.gate.open_for_looks(2).await;
    fleet.engine.remove(&scene.reference).await;
    fleet.unlock_image(&scene.id).await;

    let pull = fleet.ended(pull.id).await;
    assert_eq!(pull.state, JobState::Succeeded, "{pull:?}");
    let means = fleet.engine.id_of(&scene.reference).await;
    assert_eq!(means.as_ref(), Some(&scene.id));
    fleet.engine.remove(&other).await;
    scene.fleet.finish().await;
}

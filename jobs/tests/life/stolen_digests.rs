//! Images and layers of another user, named by their digests in manifests of a hostile registry.

use rand::RngCore as _;
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set};
use serde_json::json;
use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState, blob_origin, job};
use wharfinger_jobs::registry_credentials::save_registry_credential;
use wharfinger_jobs::testing::image::{TestImage, digest_of, layer};
use wharfinger_jobs::testing::registry::{PASSWORD, PushedImage, TestRegistry};

use crate::credentials::login;
use crate::support::hostile::{HostileRegistry, Part};
use crate::support::images::{Repository, random_image};
use crate::support::proxy::Proxy;
use crate::support::{Fleet, Shape, on_every_shape, stand_in, variable};

/// Runs each of these tests with engines of each kind of image store.
macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        on_every_store!(graph_of_old, "WHARFINGER_TEST_DOCKER_HOST_1", $($test),+);
        on_every_store!(graph, "WHARFINGER_TEST_DOCKER_HOST_GRAPH", $($test),+);
        on_every_store!(containerd, "WHARFINGER_TEST_DOCKER_HOST_CONTAINERD", $($test),+);
    };
    ($module:ident, $variable:literal, $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(super::Scene::at($variable).await).await;
                }
            )+
        }
    };
}

on_every_store!(
    an_image_is_not_had_by_the_digest_of_its_config,
    a_layer_is_not_had_by_its_digest,
    an_image_is_not_had_by_the_digest_of_its_manifest,
    who_has_the_bytes_gets_the_image,
    who_may_have_the_image_costs_no_second_fetch,
    what_came_without_a_login_is_free_in_any_registry,
);

on_every_shape!(
    what_is_stolen_on_every_database,
    what_another_pull_brings_meanwhile_is_not_had_either,
    what_another_repository_brings_meanwhile_is_not_had_either,
);

/// Ada holds an image of a registry that needs a login.
struct Scene {
    fleet: Fleet,
    registry: TestRegistry,
    proxy: Proxy,
    repository: Repository,
    image: TestImage,
    pushed: PushedImage,
    hostile: HostileRegistry,
    eve: Uuid,
}

impl Scene {
    async fn at(engine: &str) -> Self {
        let fleet = Fleet::at_engine(Shape::Embedded, &variable(engine), |_| ()).await;
        Self::of(fleet).await
    }

    async fn of(fleet: Fleet) -> Self {
        let registry = TestRegistry::with_password();
        let proxy = Proxy::start(&registry.address).await;
        let repository = Repository::at(&proxy.address);
        let mut image = TestImage::new(vec![random_layer(300_000), random_layer(2000)]);
        image.exposed_ports = vec!["4242/tcp".to_owned()];
        let pushed = registry.push(&repository.name, "1", &image).await;
        let ada = fleet.user("100").await;
        let scene = Self {
            eve: fleet.user("100").await,
            hostile: HostileRegistry::start().await,
            fleet,
            registry,
            proxy,
            repository,
            image,
            pushed,
        };
        scene.log_in(ada).await;
        scene.fleet.pulled(ada, &scene.repository.tag("1")).await;
        scene
    }

    async fn log_in(&self, user: Uuid) {
        let login = login(user, &self.proxy.address, PASSWORD);
        let saved = save_registry_credential(&self.fleet.services, &login).await;
        saved.unwrap();
    }

    /// Eve pulls a reference of hers, and gets nothing.
    async fn gets_nothing(&self, reference: &str) -> job::Model {
        let job = self.fleet.pull(self.eve, reference).await;
        let job = self.fleet.ended(job.id).await;
        assert_ne!(job.state, JobState::Succeeded, "{job:?}");
        assert!(self.fleet.holdings(self.eve).await.is_empty());
        assert!(!format!("{:?}", job.progress).contains("REUSED"), "{job:?}");
        job
    }

    /// The same, as if the engine had nothing of it.
    async fn refused(&self, reference: &str) -> JobState {
        let job = self.gets_nothing(reference).await;
        let code = job.error_code;
        assert_eq!(code, Some(JobErrorCode::ImageNotFound), "{job:?}");
        job.state
    }

    /// A layer that no engine has, and that the registry does not deliver.
    async fn absent(&self) -> JobState {
        let layer = random_layer(100);
        let config = self.hostile.has(&config_over(&[&layer]));
        let layers = [Part::of(&layer)];
        let reference = self.hostile.claim("absent", &config, &layers);
        self.refused(&reference).await
    }

    /// The config and the layers of Ada's image.
    fn parts(&self) -> (Part, Vec<Part>) {
        let layers = self.image.layers.iter().map(|layer| Part::of(layer));
        (Part::of(&self.image.config()), layers.collect())
    }
}

fn random_layer(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    rand::rng().fill_bytes(&mut content);
    layer("cargo", &content)
}

/// A config of Eve's own over these layers.
fn config_over(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| digest_of(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": [Uuid::new_v4()]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    serde_json::to_vec(&config).unwrap()
}

async fn an_image_is_not_had_by_the_digest_of_its_config(scene: Scene) {
    let Scene { hostile, image, .. } = &scene;
    let (config, layers) = scene.parts();
    let refused = async |tag, layers: &[Part]| {
        let reference = hostile.claim(tag, &config, layers);
        scene.refused(&reference).await;
    };
    refused("all", &layers).await;
    // Where the engine has the image, it asks for no layer: what Eve can deliver does not matter.
    let own = hostile.has(&random_layer(1000));
    refused("config", std::slice::from_ref(&own)).await;
    refused("nothing-else", &[]).await;
    // She knows the config too, which says what is in the layers.
    hostile.has(&image.config());
    refused("with-config", &layers).await;
    // The containerd store cannot describe what comes of it.
    let mixed = hostile.claim("with-own-layers", &config, &[own.clone(), own]);
    scene.gets_nothing(&mixed).await;
    let named = format!("{}/x@{}", hostile.address, scene.pushed.digest);
    hostile.serve("exact", image.manifest().1, image.manifest().0);
    scene.refused(&named).await;
    scene.fleet.finish().await;
}

async fn a_layer_is_not_had_by_its_digest(scene: Scene) {
    let Scene { hostile, image, .. } = &scene;
    let own = random_layer(1000);
    let sets: [&[&[u8]]; 3] = [
        &[&image.layers[0], &own],
        &[&image.layers[0], &image.layers[1]],
        &[&own, &image.layers[1]],
    ];
    hostile.has(&own);
    let absent = scene.absent().await;
    for (number, layers) in sets.into_iter().enumerate() {
        let config = hostile.has(&config_over(layers));
        let layers: Vec<_> = layers.iter().map(|layer| Part::of(layer)).collect();
        let reference = hostile.claim(&number.to_string(), &config, &layers);
        let refused = scene.refused(&reference).await;
        assert_eq!(refused, absent, "{number}");
    }
    scene.fleet.finish().await;
}

async fn an_image_is_not_had_by_the_digest_of_its_manifest(scene: Scene) {
    let Scene { hostile, image, .. } = &scene;
    let (manifest, kind) = image.manifest();
    let adas = Part::of(&manifest);
    let index = hostile.claim_index("index", std::slice::from_ref(&adas));
    scene.refused(&index).await;
    // She knows the manifest too.
    hostile.serve("manifest", kind, manifest);
    scene.refused(&index).await;
    // An image of her own is chosen here, and perhaps the other by the engine.
    let own = random_layer(1000);
    let config = hostile.has(&config_over(&[&own]));
    let tag = hostile.claim("own", &config, &[hostile.has(&own)]);
    let image = scene.fleet.pulled(scene.eve, &tag).await;
    let mine = Part {
        digest: image.digest.unwrap(),
        size: 500,
    };
    for entries in [[mine.clone(), adas.clone()], [adas, mine]] {
        let reference = hostile.claim_index("two", &entries);
        let job = scene.fleet.pull(scene.eve, &reference).await;
        let job = scene.fleet.ended(job.id).await;
        let ports: Vec<_> = scene.fleet.engine_images_of(scene.eve).await;
        assert!(
            ports.iter().all(|ports| !ports.contains("4242")),
            "{job:?} {ports:?}"
        );
    }
    scene.fleet.finish().await;
}

async fn who_has_the_bytes_gets_the_image(scene: Scene) {
    let Scene {
        hostile,
        image,
        fleet,
        ..
    } = &scene;
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|layer| hostile.has(layer))
        .collect();
    let config = hostile.has(&image.config());
    let reference = hostile.claim("own", &config, &layers);
    let job = fleet.pull(scene.eve, &reference).await;
    let job = fleet.succeeds(job.id).await;
    let progress = job.progress.unwrap()["snapshot"].clone();
    let bytes: usize = layers.iter().map(|layer| layer.size).sum();
    assert_eq!(progress["downloaded"], json!(bytes));
    assert_eq!(progress["reused"], json!(0));
    for part in layers.iter().chain([&config]) {
        assert!(hostile.was_asked_for(&part.digest), "{part:?}");
    }
    let ports = fleet.engine_images_of(scene.eve).await;
    assert!(ports[0].contains("4242"), "{ports:?}");
    scene.fleet.finish().await;
}

async fn who_may_have_the_image_costs_no_second_fetch(scene: Scene) {
    let Scene {
        fleet,
        proxy,
        repository,
        registry,
        ..
    } = &scene;
    assert_eq!(proxy.layers(), 1);
    let bob = fleet.user("100").await;
    scene.log_in(bob).await;
    // The same, the same by its digest, and an image over the same layers in the same repository.
    fleet.pulled(bob, &repository.tag("1")).await;
    let by_digest = format!("{}@{}", repository.full_name(), scene.pushed.digest);
    fleet.pulled(bob, &by_digest).await;
    let mut other = scene.image.clone();
    other.exposed_ports = vec!["1/tcp".to_owned()];
    registry.push(&repository.name, "2", &other).await;
    fleet.pulled(bob, &repository.tag("2")).await;
    assert_eq!(proxy.layers(), 1);
    scene.fleet.finish().await;
}

async fn what_came_without_a_login_is_free_in_any_registry(scene: Scene) {
    let Scene {
        fleet,
        hostile,
        eve,
        ..
    } = &scene;
    let (proxy, repository) = fleet.behind_proxy().await;
    let image = random_image(400_000);
    repository.push(&fleet.registry, "1", &image).await;
    let bob = fleet.user("100").await;
    fleet.pulled(bob, &repository.tag("1")).await;
    fleet.pulled(*eve, &repository.tag("1")).await;
    assert_eq!(proxy.layers(), 1);
    let (config, layer) = (Part::of(&image.config()), Part::of(&image.layers[0]));
    let reference = hostile.claim("public", &config, std::slice::from_ref(&layer));
    fleet.pulled(*eve, &reference).await;
    assert!(!hostile.was_asked_for(&layer.digest));
    scene.fleet.finish().await;
}

async fn what_is_stolen_on_every_database(shape: Shape) {
    let scene = Scene::of(Fleet::start(shape).await).await;
    let (config, layers) = scene.parts();
    let whole = scene.hostile.claim("1", &config, &[]);
    scene.refused(&whole).await;
    let own = scene.hostile.has(&config_over(&[&scene.image.layers[0]]));
    let part = scene.hostile.claim("2", &own, &layers[..1]);
    scene.refused(&part).await;
    let bob = scene.fleet.user("100").await;
    scene.log_in(bob).await;
    scene.fleet.pulled(bob, &scene.repository.tag("1")).await;
    assert_eq!(scene.proxy.layers(), 1);
    scene.fleet.finish().await;
}

/// Docker joins downloads of one digest, from whichever registries: while Eve's pull waits, another pull is about to bring
/// the config.
async fn what_another_pull_brings_meanwhile_is_not_had_either(shape: Shape) {
    meanwhile(shape, |_| "registry.example".to_owned()).await;
}

/// The same of another repository of one registry: its readers may be others.
async fn what_another_repository_brings_meanwhile_is_not_had_either(shape: Shape) {
    meanwhile(shape, str::to_owned).await;
}

async fn meanwhile(shape: Shape, of_ada: impl Fn(&str) -> String) {
    let hostile = stand_in::Registry::start().await;
    let engine = stand_in::Engine::start(&hostile).await;
    let fleet = Fleet::at_engine(shape, &engine.url, |_| ()).await;
    let image = stand_in::Image::new("of ada", 2_000_000, 1_000_000);
    hostile.push("r", "1", &image, 0);
    hostile.lose_blobs();
    let eve = fleet.user("100").await;
    engine.block();
    let job = fleet.pull(eve, &format!("{}/r:1", hostile.address)).await;
    engine.stuck(1).await;
    let announced = blob_origin::ActiveModel {
        id: Set(Uuid::new_v4()),
        host_id: Set(fleet.job(job.id).await.host_id.unwrap()),
        digest: Set(image.id.clone()),
        registry: Set(of_ada(&hostile.address)),
        repository: Set("of/ada".to_owned()),
        delivered: Set(false),
        anonymous: Set(false),
        diff_id: Set(None),
        created_at: Set(fleet.services.clock.now()),
    };
    announced.insert(fleet.services.db.write()).await.unwrap();
    engine.open();
    fleet.fails(job.id, JobErrorCode::ImageNotFound).await;
    assert!(fleet.holdings(eve).await.is_empty());
    fleet.finish().await;
}

//! The engine's client against a real Docker engine and a real registry.

mod failures;
mod image_store;
mod reaching;
mod stores;

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use uuid::Uuid;
use wharfinger_jobs::engine::{Engine, EngineError, LayerStep, PullEvent, PullName};
use wharfinger_jobs::testing::image::{TestImage, digest_of, layer};
use wharfinger_jobs::testing::registry::TestRegistry;

/// Longer than anything here takes: what hangs fails, and says where.
const SOON: Duration = Duration::from_mins(1);

fn env(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `make test`, which starts the servers"))
}

fn docker_host() -> String {
    env("WHARFINGER_TEST_DOCKER_HOST_1")
}

fn engine() -> Engine {
    Engine::connect(Some(&docker_host())).unwrap()
}

/// An image with a layer of one file for each size, unlike any other image.
fn image(file_sizes: &[usize]) -> TestImage {
    let layers = file_sizes.iter().map(|size| unique_layer(*size));
    let mut image = TestImage::new(layers.collect());
    image.exposed_ports = ["9000/tcp", "53/udp", "53/tcp"].map(str::to_owned).into();
    image
}

/// A tar with one file of that size under a name of its own.
fn unique_layer(size: usize) -> Vec<u8> {
    layer(&Uuid::new_v4().to_string(), &vec![0; size])
}

/// The image id of graph drivers and of Podman.
fn id(image: &TestImage) -> String {
    digest_of(&image.config())
}

fn manifest_digest(image: &TestImage) -> String {
    digest_of(&image.manifest().0)
}

/// The digests and sizes of its layers, as its manifest has them.
fn manifest_layers(image: &TestImage) -> Vec<(String, u64)> {
    let sized = |layer: &Vec<u8>| (digest_of(layer), layer.len() as u64);
    image.layers.iter().map(sized).collect()
}

/// A registry's headers and body for a path of an image; none for a path that is not of it.
fn registry_answer(image: &TestImage, path: &str) -> Option<(String, Vec<u8>)> {
    if path == "/v2/" {
        return Some((String::new(), Vec::new()));
    }
    if path.contains("/manifests/") {
        let (manifest, media_type) = image.manifest();
        let digest = digest_of(&manifest);
        let headers = format!("Content-Type: {media_type}\r\nDocker-Content-Digest: {digest}\r\n");
        return Some((headers, manifest));
    }
    let mut blobs = image.blobs().into_iter().chain([image.config()]);
    let blob = blobs.find(|blob| path.ends_with(&digest_of(blob)))?;
    Some((String::new(), blob))
}

/// A repository of the test registry that no other test has.
struct Place {
    registry: TestRegistry,
    path: String,
}

impl Place {
    fn new() -> Self {
        Self {
            registry: TestRegistry::open(),
            path: format!("engine/{}", Uuid::new_v4().simple()),
        }
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.registry.address, self.path)
    }

    fn name(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository())
    }

    fn pull_name(&self, tag: &str) -> PullName {
        PullName::new(&self.repository(), Some(tag), None)
    }

    async fn push(&self, tag: &str, image: &TestImage) {
        self.registry.push(&self.path, tag, image).await;
    }
}

/// Whether an event says that bytes of a layer come.
fn is_download(event: &PullEvent) -> bool {
    let PullEvent::Layer { step, .. } = event else {
        return false;
    };
    matches!(step, LayerStep::Downloading { .. })
}

/// Everything that a pull says, up to its error.
async fn all(
    events: impl Stream<Item = Result<PullEvent, EngineError>>,
) -> (Vec<PullEvent>, Option<EngineError>) {
    let mut events = std::pin::pin!(events);
    let mut said = Vec::new();
    let collect = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => said.push(event),
                Err(error) => return Some(error),
            }
        }
        None
    };
    let error = tokio::time::timeout(SOON, collect)
        .await
        .expect("the pull hangs");
    (said, error)
}

/// Pulls, and fails unless it succeeds.
async fn pull(engine: &Engine, name: &PullName) -> Vec<PullEvent> {
    let (events, error) = all(engine.pull(name, None)).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(events.last(), Some(&PullEvent::Finished));
    events
}

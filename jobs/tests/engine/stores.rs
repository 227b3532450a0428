//! Engines of each kind of image store: how they are told apart, and what they make of an image.

use bollard::Docker;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::TryStreamExt as _;
use wharfinger_jobs::engine::{Engine, ImageStore};

use super::{Place, env, id, image, manifest_digest};

/// `docker pull`: Podman ends its answer in words of its own.
async fn pull(docker_host: &str, place: &Place) {
    let docker = Docker::connect_with_host(docker_host).unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    let options = CreateImageOptionsBuilder::new()
        .from_image(&place.repository())
        .tag("1")
        .build();
    let events = docker.create_image(Some(options), None, None);
    events.try_collect::<Vec<_>>().await.unwrap();
}

async fn an_image_comes_and_goes(variable: &str, store: ImageStore) {
    let docker_host = env(variable);
    let engine = Engine::connect(Some(&docker_host)).unwrap();
    assert_eq!(engine.info().await.unwrap().store, store);
    let (place, image) = (Place::new(), image(&[30_000, 100]));
    place.push("1", &image).await;
    pull(&docker_host, &place).await;
    let found = engine.inspect(&place.name("1")).await.unwrap().unwrap();
    let expected = match store {
        ImageStore::Containerd => manifest_digest(&image),
        ImageStore::GraphDriver | ImageStore::Podman => id(&image),
    };
    assert_eq!(found.id, expected);
    let ports = found.exposed_ports.to_strings();
    assert_eq!(ports, ["53/tcp", "53/udp", "9000/tcp"]);
    assert_eq!(found.diff_ids.len(), 2);
    engine.untag(&place.name("1")).await.unwrap();
    assert_eq!(engine.inspect(&place.name("1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_graph_driver_of_old() {
    an_image_comes_and_goes("WHARFINGER_TEST_DOCKER_HOST_1", ImageStore::GraphDriver).await;
}

#[tokio::test]
async fn a_graph_driver_of_today() {
    an_image_comes_and_goes("WHARFINGER_TEST_DOCKER_HOST_GRAPH", ImageStore::GraphDriver).await;
}

#[tokio::test]
async fn the_containerd_image_store() {
    let variable = "WHARFINGER_TEST_DOCKER_HOST_CONTAINERD";
    an_image_comes_and_goes(variable, ImageStore::Containerd).await;
}

#[tokio::test]
async fn podman() {
    an_image_comes_and_goes("WHARFINGER_TEST_DOCKER_HOST_PODMAN", ImageStore::Podman).await;
}

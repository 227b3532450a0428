//! Images to pull.

use serde_json::Value;
use wharfinger_jobs::testing::image::TestImage;
use wharfinger_jobs::testing::registry::TestRegistry;

use super::graphql::Client;
use super::registry_proxy::RegistryProxy;
use super::servers::{random_layer, unique_name};
use super::socket::Subscription;
use super::world::World;

/// Pushes an image of so many bytes and returns its name and tag.
pub(crate) async fn push(world: &World, bytes: usize) -> String {
    let name = unique_name();
    let image = TestImage::new(vec![random_layer(bytes)]);
    world.registry.push(&name, "v1", &image).await;
    format!("{name}:v1")
}

/// The reference of such an image.
pub(crate) async fn pushed(world: &World, bytes: usize) -> String {
    let image = push(world, bytes).await;
    format!("{}/{image}", world.registry.address)
}

/// The reference of an image in a registry with a password.
pub(crate) async fn private_image(registry: &TestRegistry) -> String {
    let name = unique_name();
    let layers = vec![random_layer(1000)];
    registry.push_layers(&name, "1", layers).await;
    format!("{}/{name}:1", registry.address)
}

/// Asks for an image of which a third comes, and no more until the registry is opened. Returns when bytes have come, with the
/// job and its watchers.
pub(crate) async fn stuck(world: &World, client: &Client) -> (RegistryProxy, String, Subscription) {
    let registry = RegistryProxy::start(&world.registry.address, 1_000_000).await;
    let image = push(world, 3_000_000).await;
    let job = client.pull(&format!("{}/{image}", registry.address)).await;
    let mut progress = Subscription::progress(client, &job).await;
    progress.next_where("bytes have arrived", downloads).await;
    (registry, job, progress)
}

/// Whether bytes have arrived at an event of a pull's progress.
pub(crate) fn downloads(event: &Value) -> bool {
    event["downloaded"].as_u64() > Some(0)
}

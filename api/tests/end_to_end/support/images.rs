//! Images to pull.

use wharfinger_jobs::testing::image::TestImage;

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

/// Asks for an image of which a third comes, and no more until the registry is opened. Returns when bytes have come, with the
/// job and its watchers.
pub(crate) async fn stuck(world: &World, client: &Client) -> (RegistryProxy, String, Subscription) {
    let registry = RegistryProxy::start(&world.registry.address, 3_000_000).await;
    let image = push(world, 9_000_000).await;
    let job = client.pull(&format!("{}/{image}", registry.address)).await;
    let mut progress = Subscription::progress(client, &job).await;
    progress
        .next_where("bytes have arrived", |event| {
            event["downloaded"].as_u64() > Some(0)
        })
        .await;
    (registry, job, progress)
}

//! Asking for images, watching them arrive, and what one does with the jobs.

use serde_json::{Value, json};

use super::Examples;
use crate::support::graphql::id;
use crate::support::images::pushed;
use crate::support::registry_proxy::RegistryProxy;
use crate::support::servers::{engine, random_layer, unique_name};
use crate::support::world::World;

#[tokio::test]
async fn examples_of_pulling() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.serve(&engine(1)).await;
    let ada = World::client(&gateway, &token);
    let host = ada.online_host("one").await;
    let mut examples = Examples::of("pulling");
    let hosts = examples.run(&ada, "hosts", json!({})).await;
    assert_eq!(hosts["nodes"][0]["id"], host);

    // A pull that stands still in the middle, cancelled and run again.
    let registry = RegistryProxy::start(&world.registry.address, 3_000_000).await;
    let name = unique_name();
    world
        .registry
        .push_layers(&name, "1", vec![random_layer(9_000_000)])
        .await;
    let reference = format!("{}/{name}:1", registry.address);
    let mut updates = examples.watch(&ada, "job_updated", json!({})).await;
    let input = json!({"reference": reference, "hostId": host});
    let pulled = examples
        .run(&ada, "pull_image", json!({"input": input}))
        .await;
    let job = id(&pulled["job"]);
    let mut progress = examples
        .watch(&ada, "pull_progress", json!({"jobId": job}))
        .await;
    progress
        .next_where("it is downloading", |event| event["phase"] == "DOWNLOADING")
        .await;
    let running = examples.run(&ada, "job", json!({"id": job})).await;
    assert_eq!(running["state"], "RUNNING", "{running}");
    assert_eq!(running["attempts"][0]["number"], 1, "{running}");
    examples
        .run(&ada, "cancel_job", json!({"input": {"jobId": job}}))
        .await;
    assert_eq!(progress.rest().await.last().unwrap()["state"], "CANCELLED");
    let told = |state: &'static str| {
        let job = job.clone();
        move |event: &Value| event["id"] == job && event["state"] == state
    };
    updates
        .next_where("the end is told", told("CANCELLED"))
        .await;

    registry.open();
    let retried = examples
        .run(&ada, "retry_job", json!({"input": {"jobId": job}}))
        .await;
    assert_eq!(retried["job"]["id"], job);
    updates
        .next_where("the other end is told", told("SUCCEEDED"))
        .await;
    let done = examples.run(&ada, "job", json!({"id": job})).await;
    assert_eq!(done["progress"]["phase"], "DONE", "{done}");
    assert_ne!(done["image"], Value::Null, "{done}");

    let second = ada.pull(&pushed(&world, 1000).await).await;
    ada.succeeded(&second).await;
    let page = examples.run(&ada, "jobs", json!({"first": 1})).await;
    assert_eq!(page["edges"][0]["node"]["id"], second);
    let after = &page["pageInfo"]["endCursor"];
    let page = examples
        .run(&ada, "jobs", json!({"first": 1, "after": after}))
        .await;
    assert_eq!(page["edges"][0]["node"]["id"], job);
    assert_eq!(page["pageInfo"]["hasNextPage"], false);
    examples.all_were_run();
}

//! Asking for images, watching them arrive, and what one does with the jobs.

use serde_json::{Value, json};

use super::Examples;
use crate::support::graphql::id;
use crate::support::images::{push, pushed};
use crate::support::registry_proxy::RegistryProxy;
use crate::support::world::World;

#[tokio::test]
async fn examples_of_pulling() {
    let world = World::embedded();
    let (_gateway, ada) = world.serve_to("ada").await;
    let host = ada.online_host("one").await;
    let mut examples = Examples::of("pulling");
    let hosts = examples.run(&ada, "hosts", json!({})).await;
    assert_eq!(hosts["nodes"][0]["id"], host);

    // A pull that stands still in the middle, cancelled and run again.
    let registry = RegistryProxy::start(&world.registry.address, 1_000_000).await;
    let image = push(&world, 3_000_000).await;
    let reference = format!("{}/{image}", registry.address);
    let mut updates = examples.watch(&ada, "job_updated", json!({})).await;
    let input = json!({"input": {"reference": reference, "hostId": host}});
    let pulled = examples.run(&ada, "pull_image", input).await;
    let job = id(&pulled["job"]);
    let of_job = json!({"jobId": job});
    let mut progress = examples.watch(&ada, "pull_progress", of_job).await;
    progress
        .next_where("it is downloading", |event| event["phase"] == "DOWNLOADING")
        .await;
    let running = examples.run(&ada, "job", json!({"id": job})).await;
    assert_eq!(running["state"], "RUNNING", "{running}");
    assert_eq!(running["attempts"][0]["number"], 1, "{running}");
    let of_job = json!({"input": {"jobId": job}});
    examples.run(&ada, "cancel_job", of_job.clone()).await;
    assert_eq!(progress.rest().await.last().unwrap()["state"], "CANCELLED");
    let told = |event: &Value, state: &str| event["id"] == job && event["state"] == state;
    let cancelled = |event: &Value| told(event, "CANCELLED");
    updates.next_where("it is cancelled", cancelled).await;

    registry.open();
    let retried = examples.run(&ada, "retry_job", of_job).await;
    assert_eq!(retried["job"]["id"], job);
    let succeeded = |event: &Value| told(event, "SUCCEEDED");
    updates.next_where("it has succeeded", succeeded).await;
    let done = examples.run(&ada, "job", json!({"id": job})).await;
    assert_eq!(done["progress"]["phase"], "DONE", "{done}");
    assert_ne!(done["image"], Value::Null, "{done}");

    let second = ada.pull(&pushed(&world, 1000).await).await;
    ada.succeeded(&second).await;
    let page = examples.run(&ada, "jobs", json!({"first": 1})).await;
    assert_eq!(page["edges"][0]["node"]["id"], second);
    let next = json!({"first": 1, "after": page["pageInfo"]["endCursor"]});
    let page = examples.run(&ada, "jobs", next).await;
    assert_eq!(page["edges"][0]["node"]["id"], job);
    assert_eq!(page["pageInfo"]["hasNextPage"], false);
    let known = json!({"imageId": id(&done["image"]), "jobId": job, "hostId": host});
    examples.run_the_rest(&ada, &known).await;
}

//! What administrators do: users and credits, queues and dead letters, hosts, images, and the log of all of it.

use serde_json::{Value, json};

use super::Examples;
use crate::support::graphql::{Client, id};
use crate::support::images::pushed;
use crate::support::world::World;

#[tokio::test]
async fn examples_of_administration() {
    let mut world = World::embedded();
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "1");
    let (token, admin) = (world.user("ada", &[]), world.user("eve", &["--admin"]));
    let gateway = world.serve().await;
    let (ada, eve) = (gateway.client(&token), gateway.client(&admin));
    let host = eve.online_host("one").await;
    let mut examples = Examples::of("administration");
    let mut jobs = examples.watch(&eve, "job_updated_all", json!({})).await;

    users(&mut examples, &eve).await;
    let pulled = pulled(&ada, &pushed(&world, 1000).await).await;
    jobs.next_where("a user's job is told", |job| {
        job["requestedBy"]["name"] == "ada" && job["state"] == "SUCCEEDED"
    })
    .await;
    dead_letters(&mut examples, &ada, &eve).await;
    hosts_and_images(&mut examples, &eve, &host, &pulled).await;

    // Once nobody pays for the first one, there is a second to be swept.
    let second = ada.pull(&pushed(&world, 1000).await).await;
    ada.succeeded(&second).await;
    let hosts = json!({"input": {"hostIds": [host]}});
    let swept = examples.run(&eve, "sweep_images", hosts).await;
    for removal in swept["jobs"].as_array().unwrap() {
        ada.succeeded(&id(removal)).await;
    }
    let log = examples.run(&eve, "audit_log", json!({})).await;
    let acts = log["nodes"].as_array().unwrap().iter();
    let acts: Vec<_> = acts.map(|act| &act["action"]).collect();
    assert_eq!(acts, ["UPDATE_USER", "GRANT_CREDITS"]);
    examples.run_the_rest(&eve, &json!({"hostId": host})).await;
}

async fn users(examples: &mut Examples, eve: &Client) {
    let found = examples.run(eve, "users", json!({})).await;
    assert_eq!(found["totalCount"], 1, "{found}");
    let created = examples.run(eve, "create_user", json!({})).await;
    let user = id(&created["user"]);
    let input = json!({"input": {"userId": user}});
    let granted = examples.run(eve, "grant_credits", input.clone()).await;
    assert_eq!(granted["ledgerEntry"]["totalAfter"], "2750.5");
    let updated = examples.run(eve, "update_user", input).await;
    assert_eq!(updated["user"]["status"], "BANNED");
}

async fn pulled(client: &Client, reference: &str) -> String {
    let job = client.pull(reference).await;
    id(&client.succeeded(&job).await["image"])
}

/// Two jobs die; one is run again and dies again, and the other is taken off the list.
async fn dead_letters(examples: &mut Examples, ada: &Client, eve: &Client) {
    let mut dead = Vec::new();
    for number in 0..2 {
        let job = ada.pull(&format!("127.0.0.1:1/nowhere:{number}")).await;
        assert_eq!(ada.ended(&job).await["state"], "DEAD");
        dead.push(job);
    }
    let queues = examples.run(eve, "queues", json!({})).await;
    assert_eq!(queues[0]["name"], "one");
    assert_eq!(queues[0]["dead"], 2);
    let letters = examples.run(eve, "dead_letters", json!({})).await;
    assert_eq!(letters["totalCount"], 2);
    let input = json!({"input": {"queue": "one", "limit": 1}});
    let retried = examples.run(eve, "retry_dead_jobs", input).await;
    assert_eq!(id(&retried["jobs"][0]), dead[0], "the oldest first");
    ada.job_when(&dead[0], "dies again", |job| job["state"] == "DEAD")
        .await;
    let input = json!({"input": {"jobId": dead[1]}});
    let discarded = examples.run(eve, "discard_job", input).await;
    assert_ne!(discarded["job"]["discardedAt"], Value::Null);
    let queue = json!({"input": {"queue": "one"}});
    examples.run(eve, "set_queue_paused", queue).await;
    let queue = json!({"input": {"queue": "one", "paused": false}});
    examples.run(eve, "set_queue_paused", queue).await;
}

async fn hosts_and_images(examples: &mut Examples, eve: &Client, host: &str, image: &str) {
    let input = |schedulable: bool| json!({"input": {"hostId": host, "schedulable": schedulable}});
    let name = "set_host_schedulable";
    let drained = examples.run(eve, name, input(false)).await;
    assert_eq!(drained["host"]["schedulable"], false);
    examples.run(eve, name, input(true)).await;
    let users = examples.run(eve, "users", json!({})).await;
    let user = json!({"id": users["nodes"][0]["id"]});
    let user = examples.run(eve, "user", user).await;
    assert_eq!(user["images"]["nodes"][0]["id"], image);
    let input = json!({"input": {"imageId": image}});
    let published = examples.run(eve, "set_image_visibility", input).await;
    assert_eq!(published["image"]["charge"], "0");
}

//! What administrators ask and do over the API, and what others may not.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::crashes::pushed;
use crate::support::graphql::Client;
use crate::support::servers::{Server, engine, unique_name};
use crate::support::until;
use crate::support::world::World;

const QUEUES: &str =
    "{ queues { name host { id name } paused queued running retrying dead oldestQueuedSeconds } }";

const PAUSE: &str = "mutation($queue: String!, $paused: Boolean!) {
    setQueuePaused(input: {queue: $queue, paused: $paused}) { queue { name paused queued } userErrors { code field message } }
}";

const REDRIVE: &str = "mutation($input: RetryDeadJobsInput!) {
    retryDeadJobs(input: $input) { jobs { id state attempt maxAttempts held } userErrors { code field message } }
}";

const DISCARD: &str = "mutation($id: ID!) {
    discardJob(input: {jobId: $id}) { job { id state discardedAt } userErrors { code field message } }
}";

const SWEEP: &str = "mutation($hosts: [ID!]) {
    sweepImages(input: {hostIds: $hosts}) { jobs { id kind requestedBy { name } } userErrors { code field message } }
}";

const LOG: &str =
    "{ auditLog(first: 100) { totalCount nodes { id actor action subject details createdAt } } }";

/// The audit log, oldest first, without the making of the test's users.
async fn log(admin: &Client) -> Vec<Value> {
    let mut log = admin.ask(LOG, json!({})).await["auditLog"].take();
    let mut entries = log["nodes"].take().as_array().unwrap().clone();
    assert_eq!(log["totalCount"], entries.len());
    entries.retain(|entry| entry["action"] != "CREATE_USER");
    entries.reverse();
    entries
}

fn actions(log: &[Value]) -> Vec<&str> {
    log.iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect()
}

async fn queue(admin: &Client) -> Value {
    let queues = admin.ask(QUEUES, json!({})).await["queues"].take();
    assert_eq!(queues.as_array().unwrap().len(), 1, "{queues}");
    queues[0].clone()
}

/// A reference to a registry that is not there.
pub(crate) fn nowhere() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("{}/{}:1", free.local_addr().unwrap(), unique_name())
}

#[tokio::test]
async fn only_administrators_may() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.serve(&engine(1)).await;
    for (token, expected) in [
        (Some(token.as_str()), "FORBIDDEN"),
        (None, "UNAUTHENTICATED"),
    ] {
        let client = Client::new(&gateway.address, token);
        for (document, variables) in [
            (QUEUES, json!({})),
            (LOG, json!({})),
            (PAUSE, json!({"queue": "one", "paused": true})),
            (REDRIVE, json!({"input": {}})),
            (
                DISCARD,
                json!({"id": "job_00000000000000000000000000000000"}),
            ),
            (SWEEP, json!({})),
        ] {
            let (_, answer) = client.send(document, variables).await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, expected, "{document}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_administrator_runs_queues_and_dead_letters() {
    let mut world = World::embedded();
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    let user = world.user("ada", &["--credits", "650"]);
    let admin = world.user("eve", &["--admin"]);
    let gateway = world.serve(&engine(1)).await;
    let (ada, eve) = (
        World::client(&gateway, &user),
        World::client(&gateway, &admin),
    );
    let host = eve.online_host("one").await;
    let mut dead = Vec::new();
    for _ in 0..3 {
        let job = ada.pull(&nowhere()).await;
        let job = ada.ended(&job).await;
        assert_eq!(job["state"], "DEAD", "{job}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job}");
        for attempt in job["attempts"].as_array().unwrap() {
            assert_eq!(attempt["error"]["code"], "REGISTRY_UNAVAILABLE");
            assert!(attempt["worker"].as_str().unwrap().starts_with("one/"));
        }
        dead.push(job["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(queue(&eve).await["dead"], 3);

    let paused = eve
        .ask(PAUSE, json!({"queue": "one", "paused": true}))
        .await["setQueuePaused"]
        .take();
    assert_eq!(paused["queue"]["paused"], true, "{paused}");
    let waiting = ada.pull(&pushed(&world, 1000).await).await;
    let shown = queue(&eve).await;
    assert_eq!(shown["host"], json!({"id": host, "name": "one"}));
    assert_eq!(
        (&shown["paused"], &shown["queued"]),
        (&json!(true), &json!(1))
    );
    assert!(shown["oldestQueuedSeconds"].as_f64().unwrap() >= 0.0);
    let unknown = eve
        .ask(PAUSE, json!({"queue": "two", "paused": true}))
        .await;
    let error = &unknown["setQueuePaused"]["userErrors"][0];
    assert_eq!(error["code"], "NOT_FOUND", "{error}");
    assert_eq!(error["field"], json!(["input", "queue"]));

    // 650 credits pay for two holds of 300, and one has the job that waits.
    let input = json!({"queue": "one", "errorCode": "REGISTRY_UNAVAILABLE"});
    let redriven = eve.ask(REDRIVE, json!({"input": input})).await["retryDeadJobs"].take();
    assert_eq!(redriven["jobs"].as_array().unwrap().len(), 1, "{redriven}");
    let job = &redriven["jobs"][0];
    assert_eq!((&job["id"], &job["held"]), (&json!(dead[0]), &json!("300")));
    assert_eq!(
        (&job["state"], &job["maxAttempts"]),
        (&json!("QUEUED"), &json!(4))
    );
    let errors = redriven["userErrors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{redriven}");
    for (error, id) in errors.iter().zip(&dead[1..]) {
        assert_eq!(error["code"], "INSUFFICIENT_CREDITS");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{id}: ")), "{message}");
    }
    let refused = eve.ask(REDRIVE, json!({"input": {"limit": 1001}})).await;
    let error = &refused["retryDeadJobs"]["userErrors"][0];
    assert_eq!(error["field"], json!(["input", "limit"]), "{error}");

    let discarded = eve.ask(DISCARD, json!({"id": dead[1]})).await["discardJob"].take();
    assert_eq!(discarded["job"]["state"], "DEAD", "{discarded}");
    assert!(discarded["job"]["discardedAt"].is_string(), "{discarded}");
    assert_eq!(queue(&eve).await["dead"], 1);
    let refused = eve.ask(DISCARD, json!({"id": waiting})).await["discardJob"].take();
    assert_eq!(
        refused["userErrors"][0]["code"], "INVALID_INPUT",
        "{refused}"
    );

    let cancel = "mutation($id: ID!) { cancelJob(input: {jobId: $id}) { job { state } } }";
    let cancelled = eve.ask(cancel, json!({"id": dead[0]})).await;
    assert_eq!(cancelled["cancelJob"]["job"]["state"], "CANCELLED");
    let retry = "mutation($id: ID!) { retryJob(input: {jobId: $id}) { job { state } } }";
    let retried = eve.ask(retry, json!({"id": dead[0]})).await;
    assert_eq!(retried["retryJob"]["job"]["state"], "QUEUED");
    let before = log(&eve).await;
    assert_eq!(
        actions(&before),
        [
            "SET_QUEUE_PAUSED",
            "RETRY_DEAD_JOBS",
            "DISCARD_JOB",
            "CANCEL_JOB",
            "RETRY_JOB"
        ]
    );
    assert!(before.iter().all(|entry| entry["actor"] == "eve"));
    let details = before[1]["details"].as_str().unwrap();
    let details: Value = serde_json::from_str(details).unwrap();
    assert_eq!(details["user"], "ada", "{details}");

    eve.ask(PAUSE, json!({"queue": "one", "paused": false}))
        .await;
    eve.succeeded(&waiting).await;
    // What was in the log is as it was, and what came is behind it.
    let after = log(&eve).await;
    assert_eq!(after[..before.len()], before);
    assert_eq!(actions(&after[before.len()..]), ["SET_QUEUE_PAUSED"]);
}

#[tokio::test]
async fn an_administrator_sees_everyones_jobs() {
    let world = World::embedded();
    let tokens = [world.user("ada", &[]), world.user("bob", &[])];
    let admin = world.user("eve", &["--admin"]);
    let gateway = world.serve(&engine(1)).await;
    let eve = World::client(&gateway, &admin);
    let host = eve.online_host("one").await;
    let mut jobs = Vec::new();
    let mut users = Vec::new();
    for token in &tokens {
        let client = World::client(&gateway, token);
        let job = client.pull(&pushed(&world, 1000).await).await;
        client.succeeded(&job).await;
        jobs.push(job);
        let viewer = client.ask("{ viewer { id } }", json!({})).await;
        users.push(viewer["viewer"]["id"].clone());
    }
    let listed = async |client: &Client, filter: Value| -> Vec<String> {
        let query = "query($filter: JobFilter) { jobs(filter: $filter) { nodes { id } } }";
        let jobs = client.ask(query, json!({"filter": filter})).await["jobs"].take();
        let nodes = jobs["nodes"].as_array().unwrap();
        nodes
            .iter()
            .map(|node| node["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let both = vec![jobs[1].clone(), jobs[0].clone()];
    assert_eq!(listed(&eve, json!({})).await, both);
    for (user, job) in users.iter().zip(&jobs) {
        let listed = listed(&eve, json!({"userId": user})).await;
        assert_eq!(listed, std::slice::from_ref(job));
    }
    let states = json!({"states": ["SUCCEEDED"], "kinds": ["PULL_IMAGE"], "hostId": host});
    assert_eq!(listed(&eve, states).await, both);
    let none = Vec::<String>::new();
    assert_eq!(listed(&eve, json!({"states": ["DEAD"]})).await, none);
    assert_eq!(listed(&eve, json!({"kinds": ["REMOVE_IMAGE"]})).await, none);
    let ada = World::client(&gateway, &tokens[0]);
    assert_eq!(listed(&ada, json!({})).await, [jobs[0].clone()]);
}

#[tokio::test]
async fn an_administrator_sweeps_hosts() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let admin = world.user("eve", &["--admin"]);
    let gateway = world.serve(&engine(1)).await;
    let (ada, eve) = (
        World::client(&gateway, &token),
        World::client(&gateway, &admin),
    );
    let host = eve.online_host("one").await;
    let job = ada.pull(&pushed(&world, 1000).await).await;
    ada.succeeded(&job).await;
    let unknown = json!({"hosts": [host, "host_00000000000000000000000000000000"]});
    let refused = eve.ask(SWEEP, unknown).await["sweepImages"].take();
    assert_eq!(refused["jobs"], json!([]));
    assert_eq!(refused["userErrors"][0]["code"], "HOST_NOT_FOUND");
    assert_eq!(
        refused["userErrors"][0]["field"],
        json!(["input", "hostIds"])
    );

    let swept = eve.ask(SWEEP, json!({"hosts": [host]})).await["sweepImages"].take();
    assert_eq!(swept["userErrors"], json!([]));
    let removal = &swept["jobs"][0];
    assert_eq!(removal["requestedBy"]["name"], "ada");
    assert_eq!(removal["kind"], "REMOVE_IMAGE");
    ada.succeeded(removal["id"].as_str().unwrap()).await;
    assert_eq!(ada.balance().await["total"], "1000");
    let nothing = eve.ask(SWEEP, json!({})).await["sweepImages"].take();
    assert_eq!(nothing, json!({"jobs": [], "userErrors": []}));
    assert_eq!(actions(&log(&eve).await), ["SWEEP_IMAGES", "SWEEP_IMAGES"]);
}

/// Two gateways with the same schedule, which comes every minute.
#[tokio::test]
async fn a_scheduled_sweep_runs_once_for_all_gateways() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_SWEEP__SCHEDULE", "* * * * *");
    let token = world.user("ada", &[]);
    let admin = world.user("eve", &["--admin"]);
    let _worker = world.worker().await;
    let gateways = [world.gateway().await, world.gateway().await];
    let (ada, eve) = (
        World::client(&gateways[0], &token),
        World::client(&gateways[1], &admin),
    );
    eve.online_host("one").await;
    let job = ada.pull(&pushed(&world, 1000).await).await;
    ada.succeeded(&job).await;
    until("the image is let go of", async || {
        let images = ada.ask("{ images { totalCount } }", json!({})).await;
        (images["images"]["totalCount"] == 0).then_some(())
    })
    .await;
    let db = crate::support::books::database(&world).await;
    crate::support::books::all_succeed(&db).await;
    assert_eq!(ada.balance().await["total"], "1000");
    let log = log(&eve).await;
    let mut minutes: Vec<String> = log
        .iter()
        .map(|entry| entry["createdAt"].as_str().unwrap()[..16].to_owned())
        .collect();
    assert!(log.iter().all(|entry| entry["actor"] == "sweep.schedule"));
    let all = minutes.len();
    minutes.dedup();
    assert_eq!(minutes.len(), all, "one sweep for each minute: {log:?}");
}

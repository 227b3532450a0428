//! What administrators ask and do. That others may not is in the table of the authorisation.

use serde_json::{Value, json};
use wharfinger_entity::{Role, host};

use super::client::{Client, done, id, mutate};
use super::gateway::{Gateway, Store};
use super::servers::engine;
use super::{each, on_both, refusal, rows, user_id};

on_both!(
    an_administrator_runs_queues_and_dead_letters,
    an_administrator_sees_everyones_jobs,
    an_administrator_sweeps_hosts,
    an_administrator_drains_a_host,
);

/// The audit log, oldest first, without the making of the test's users.
async fn log(admin: &Client) -> Vec<Value> {
    let query = "{ auditLog(first: 100) { totalCount nodes { id actor action subject details createdAt } } }";
    let mut log = admin.ask(query, json!({})).await["auditLog"].take();
    let mut entries = log["nodes"].take().as_array().unwrap().clone();
    assert_eq!(log["totalCount"], entries.len());
    entries.retain(|entry| entry["action"] != "CREATE_USER");
    entries.reverse();
    entries
}

/// The actions of a log, with spaces between.
fn actions(log: &[Value]) -> String {
    let actions = log.iter().map(|entry| entry["action"].as_str().unwrap());
    actions.collect::<Vec<_>>().join(" ")
}

async fn queue(admin: &Client) -> Value {
    let query = "{ queues { name host { id name } paused queued running retrying dead oldestQueuedSeconds } }";
    let queues = admin.ask(query, json!({})).await["queues"].take();
    assert_eq!(queues.as_array().unwrap().len(), 1, "{queues}");
    queues[0].clone()
}

/// Three pulls that are dead after two attempts each.
async fn dead_letters(ada: &Client) -> Vec<String> {
    let mut dead = Vec::new();
    for number in 0..3 {
        let job = ada.pull(&format!("127.0.0.1:1/nowhere:{number}")).await;
        let job = ada.ended(&job).await;
        assert_eq!(job["state"], "DEAD", "{job}");
        assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job}");
        for attempt in job["attempts"].as_array().unwrap() {
            assert_eq!(attempt["error"]["code"], "REGISTRY_UNAVAILABLE");
            assert!(attempt["worker"].as_str().unwrap().starts_with("one/"));
        }
        dead.push(id(&job));
    }
    dead
}

async fn an_administrator_runs_queues_and_dead_letters(store: Store) {
    let settings = [
        ("DOCKER_HOST", &*engine(1)),
        ("WHARFINGER_RETRY__MAX_ATTEMPTS", "2"),
        ("WHARFINGER_RETRY__BASE_DELAY", "100ms"),
        ("WHARFINGER_HOST__OFFLINE_AFTER", "1h"),
    ];
    let gateway = Gateway::with(store, &settings).await;
    let ada = gateway.make("ada", Role::User, "650", None).await;
    let eve = gateway.admin("eve").await;
    let dead = gateway.working(dead_letters(&ada)).await;
    assert_eq!(queue(&eve).await["dead"], 3);

    let pause = async |queue: &str, paused: bool| {
        let input = json!({"queue": queue, "paused": paused});
        mutate(&eve, "setQueuePaused", input, "queue { paused }").await
    };
    let paused = pause("one", true).await;
    assert_eq!(paused["queue"]["paused"], true, "{paused}");
    let waiting = ada.pull("127.0.0.1:1/waiting").await;
    let shown = queue(&eve).await;
    assert_eq!(shown["host"]["name"], "one");
    assert_eq!(shown["paused"], true);
    assert_eq!(shown["queued"], 1);
    assert!(shown["oldestQueuedSeconds"].as_f64().unwrap() >= 0.0);
    let unknown = pause("two", true).await;
    let expected = ("NOT_FOUND", &json!(["input", "queue"]));
    assert_eq!(refusal(&unknown), expected);

    // 650 credits pay for two holds of 300, and one has the job that waits.
    let redrive = async |input: Value| {
        let fields = "jobs { id state attempt maxAttempts held }";
        mutate(&eve, "retryDeadJobs", input, fields).await
    };
    let redriven = redrive(json!({"queue": "one", "errorCode": "REGISTRY_UNAVAILABLE"})).await;
    let job =
        json!({"id": dead[0], "state": "QUEUED", "attempt": 2, "maxAttempts": 4, "held": "300"});
    assert_eq!(redriven["jobs"], json!([job]), "{redriven}");
    let errors = redriven["userErrors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{redriven}");
    for (error, id) in errors.iter().zip(&dead[1..]) {
        assert_eq!(error["code"], "INSUFFICIENT_CREDITS");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{id}: ")), "{message}");
    }
    let refused = redrive(json!({"limit": 1001})).await;
    assert_eq!(*refusal(&refused).1, json!(["input", "limit"]));

    let discard = async |job: &str| {
        let input = json!({"jobId": job});
        mutate(&eve, "discardJob", input, "job { state discardedAt }").await
    };
    let discarded = discard(&dead[1]).await["job"].take();
    assert_eq!(discarded["state"], "DEAD", "{discarded}");
    assert!(discarded["discardedAt"].is_string(), "{discarded}");
    assert_eq!(queue(&eve).await["dead"], 1);
    assert_eq!(refusal(&discard(&waiting).await).0, "INVALID_INPUT");

    let others = json!({"jobId": dead[0]});
    let cancelled = done(&eve, "cancelJob", others.clone(), "job { state }").await;
    assert_eq!(cancelled["job"]["state"], "CANCELLED");
    let retried = done(&eve, "retryJob", others, "job { state }").await;
    assert_eq!(retried["job"]["state"], "QUEUED");
    let before = log(&eve).await;
    let expected = "SET_QUEUE_PAUSED RETRY_DEAD_JOBS DISCARD_JOB CANCEL_JOB RETRY_JOB";
    assert_eq!(actions(&before), expected);
    assert!(before.iter().all(|entry| entry["actor"] == "eve"));
    let details = before[1]["details"].as_str().unwrap();
    let details: Value = serde_json::from_str(details).unwrap();
    assert_eq!(details["user"], "ada", "{details}");

    // What was in the log is as it was, and what came is behind it.
    pause("one", false).await;
    let after = log(&eve).await;
    assert_eq!(after[..before.len()], before);
    assert_eq!(actions(&after[before.len()..]), "SET_QUEUE_PAUSED");
}

async fn an_administrator_sees_everyones_jobs(store: Store) {
    let gateway = Gateway::on(store).await;
    let users = [gateway.user("ada").await, gateway.user("bob").await];
    let eve = gateway.admin("eve").await;
    let host = rows::host(&gateway.services, |_: &mut host::ActiveModel| ()).await;
    let mut jobs = Vec::new();
    for user in &users {
        jobs.push(user.pull("127.0.0.1:1/x").await);
    }
    let query = "query($filter: JobFilter) { jobs(filter: $filter) { nodes { id } } }";
    let lists = async |client: &Client, filter: Value, expected: &[&String]| {
        let listed = client.ask(query, json!({"filter": filter})).await;
        assert_eq!(each(&listed["jobs"], "id"), expected, "{filter}");
    };
    let both = [&jobs[1], &jobs[0]];
    lists(&eve, json!({}), &both).await;
    for (user, job) in users.iter().zip(&jobs) {
        let user = format!("user_{}", user_id(user).await.simple());
        lists(&eve, json!({"userId": user}), &[job]).await;
    }
    let host = format!("host_{}", host.simple());
    let all = json!({"states": ["QUEUED"], "kinds": ["PULL_IMAGE"], "hostId": host});
    lists(&eve, all, &both).await;
    lists(&eve, json!({"states": ["DEAD"]}), &[]).await;
    lists(&eve, json!({"kinds": ["REMOVE_IMAGE"]}), &[]).await;
    lists(&users[0], json!({}), &[&jobs[0]]).await;
}

async fn an_administrator_sweeps_hosts(store: Store) {
    let gateway = Gateway::on(store).await;
    let (ada, eve) = (gateway.user("ada").await, gateway.admin("eve").await);
    let services = &gateway.services;
    let host = rows::host(services, |_: &mut host::ActiveModel| ()).await;
    let holder = Some(user_id(&ada).await);
    rows::hold(services, host, holder, "127.0.0.1:1/x:1").await;
    let host = format!("host_{}", host.simple());
    let sweep = async |hosts: Value| {
        let fields = "jobs { kind requestedBy { name } }";
        mutate(&eve, "sweepImages", hosts, fields).await
    };
    let unknown = "host_00000000000000000000000000000000";
    let refused = sweep(json!({"hostIds": [host, unknown]})).await;
    assert_eq!(refused["jobs"], json!([]));
    let expected = ("HOST_NOT_FOUND", &json!(["input", "hostIds"]));
    assert_eq!(refusal(&refused), expected);

    let swept = sweep(json!({"hostIds": [host]})).await;
    let removal = json!({"kind": "REMOVE_IMAGE", "requestedBy": {"name": "ada"}});
    assert_eq!(swept, json!({"jobs": [removal], "userErrors": []}));
    assert_eq!(actions(&log(&eve).await), "SWEEP_IMAGES");
}

async fn an_administrator_drains_a_host(store: Store) {
    let gateway = Gateway::on(store).await;
    let (ada, eve) = (gateway.user("ada").await, gateway.admin("eve").await);
    let host = rows::host(&gateway.services, |_: &mut host::ActiveModel| ()).await;
    let host = format!("host_{}", host.simple());
    let set = async |host: &str| {
        let input = json!({"hostId": host, "schedulable": false});
        mutate(&eve, "setHostSchedulable", input, "host { id schedulable }").await
    };
    let drained = set(&host).await;
    let shown = json!({"id": host, "schedulable": false});
    assert_eq!(drained, json!({"host": shown, "userErrors": []}));
    for input in [
        json!({"reference": "127.0.0.1:1/x", "hostId": host}),
        json!({"reference": "127.0.0.1:1/x"}),
    ] {
        let refused = ada.try_pull(input).await;
        assert_eq!(refusal(&refused).0, "HOST_UNAVAILABLE");
    }
    let unknown = set("host_00000000000000000000000000000000").await;
    assert_eq!(unknown["host"], Value::Null);
    let expected = ("HOST_NOT_FOUND", &json!(["input", "hostId"]));
    assert_eq!(refusal(&unknown), expected);
    let log = log(&eve).await;
    assert_eq!(actions(&log), "SET_HOST_SCHEDULABLE");
    assert_eq!(log[0]["details"], "{\"schedulable\":false}");
}

//! What a worker writes into its log files, and what each line of a job says.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Map, Value};

use crate::support::images::pushed;
use crate::support::servers::Server;
use crate::support::world::World;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The lines of all log files, oldest file first.
pub(crate) fn lines(world: &World) -> Vec<String> {
    let folder = world.data_dir().join("logs");
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    let text = texts.collect::<String>();
    text.lines().map(ToOwned::to_owned).collect()
}

/// The fields of the job's span that a line is in; none where it is in none.
fn of_job(line: &Value) -> Option<&Map<String, Value>> {
    let spans = line["spans"].as_array()?;
    let of_job = |span: &&Value| {
        span["name"]
            .as_str()
            .unwrap_or_default()
            .starts_with("job.")
    };
    spans.iter().find(of_job)?.as_object()
}

#[tokio::test]
async fn every_line_of_a_job_carries_its_id_attempt_and_trace() {
    let mut world = World::fleet(Server::Postgres).await;
    // Other people's libraries have something to say, too.
    world.set("WHARFINGER_LOG", "debug");
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    let (mut worker, _gateway, client) = world.work_for("ada").await;
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let in_trace = client.with_header("traceparent", &traceparent);
    let done = in_trace.pull(&pushed(&world, 100_000).await).await;
    client.succeeded(&done).await;
    let dead = in_trace.pull("127.0.0.1:1/nothing:v1").await;
    client.ended(&dead).await;
    worker.stop().await;

    let lines = lines(&world);
    let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let mut attempts = Vec::new();
    for line in &lines {
        let Some(job) = of_job(line) else {
            // What speaks of a job outside of its span has at least these.
            let text = line.to_string().replace('-', "");
            let mut ids = [&done, &dead].into_iter();
            let speaks = ids.any(|id| text.contains(id.strip_prefix("job_").unwrap()));
            let target = line["target"].as_str().unwrap_or_default();
            let ours = target.starts_with("wharfinger");
            let told = line["trace_id"] == TRACE && line["job.attempt"].is_i64();
            assert!(!(speaks && ours) || told, "{line}");
            continue;
        };
        assert_eq!(job["trace_id"], TRACE, "{line}");
        let id = job["job.id"].as_str().unwrap().replace('-', "");
        let attempt = job["job.attempt"].as_i64().unwrap();
        if line["message"] == "attempt began" {
            attempts.push((format!("job_{id}"), attempt));
        }
    }
    let expected = [(done, 1), (dead.clone(), 1), (dead, 2)];
    assert_eq!(attempts, expected);
    let failed = |line: &&Value| line["message"] == "attempt failed";
    assert_eq!(lines.iter().filter(failed).count(), 2);
    // Without a collector, too, and the same on standard error.
    let settled = worker.logged("attempt settled").await;
    assert!(settled.contains(TRACE), "{settled}");
}

#[tokio::test]
async fn the_number_of_files_is_bounded() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_LOG_FILES__ROTATION", "hourly");
    world.set("WHARFINGER_LOG_FILES__KEEP", "3");
    let folder = world.data_dir().join("logs");
    fs::create_dir_all(&folder).unwrap();
    for hour in 10..20 {
        let old = folder.join(format!("worker.2020-01-01-{hour}.log"));
        fs::write(old, "old\n").unwrap();
    }
    fs::write(folder.join("notes.txt"), "mine\n").unwrap();
    world.worker().await.stop().await;

    let files = fs::read_dir(&folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.collect();
    assert!(names.contains("notes.txt"), "{names:?}");
    let logs = names.iter().filter(|name| name.starts_with("worker."));
    let logs: Vec<_> = logs.collect();
    assert_eq!(logs.len(), 3, "{names:?}");
    let newest = fs::read_to_string(folder.join(logs[2])).unwrap();
    let told = newest.contains("the worker reports on");
    assert!(told, "{names:?}: {newest}");
}

#[tokio::test]
async fn a_worker_inside_a_gateway_keeps_files_and_a_gateway_alone_does_not() {
    let world = World::embedded();
    world.serve().await.stop().await;
    let lines = lines(&world).join("\n");
    assert!(lines.contains("the gateway listens on"), "{lines}");

    let world = World::fleet(Server::Postgres).await;
    let gateway = world.gateway().await;
    assert!(!world.data_dir().join("logs").exists());
    drop(gateway);

    let mut world = World::embedded();
    world.set("WHARFINGER_LOG_FILES__ROTATION", "never");
    let gateway = world.serve().await;
    assert!(!world.data_dir().join("logs").exists());
    drop(gateway);
}

//! What a worker writes into its log files, and what each line of a job says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Map, Value};

use crate::support::images::pushed;
use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::world::World;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The lines of all log files, oldest file first.
pub(crate) fn lines(world: &World) -> Vec<String> {
    let folder = world.data_dir().join("logs");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts
        .flat_map(|text| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>())
        .collect()
}

async fn stop(process: &mut Process) {
    process.terminate();
    let status = process.ended().await;
    assert!(status.success(), "{status}");
}

/// The fields of the job's span that a line is in; none where it is in none.
fn of_job(line: &Value) -> Option<&Map<String, Value>> {
    let spans = line["spans"].as_array()?;
    let span = spans.iter().find(|span| {
        span["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("job."))
    })?;
    span.as_object()
}

#[tokio::test]
async fn every_line_of_a_job_carries_its_id_attempt_and_trace() {
    let mut world = World::fleet(Server::Postgres).await;
    // Other people's libraries have something to say, too.
    world.set("WHARFINGER_LOG", "debug");
    world.set("WHARFINGER_RETRY__MAX_ATTEMPTS", "2");
    let token = world.user("ada", &[]);
    let mut worker = world.worker().await;
    let gateway = world.gateway().await;
    let client = World::client(&gateway, &token);
    client.online_host("one").await;
    let in_trace = client.in_trace(&format!("00-{TRACE}-00f067aa0ba902b7-00"));
    let done = in_trace.pull(&pushed(&world, 100_000).await).await;
    client.succeeded(&done).await;
    let dead = in_trace.pull("127.0.0.1:1/nothing:v1").await;
    client.ended(&dead).await;
    stop(&mut worker).await;

    let lines: Vec<Value> = lines(&world)
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut attempts = Vec::new();
    for line in &lines {
        let Some(job) = of_job(line) else {
            // What speaks of a job outside of its span has at least these.
            let speaks = [&done, &dead].iter().any(|id| {
                line.to_string()
                    .replace('-', "")
                    .contains(id.strip_prefix("job_").unwrap())
            });
            let ours = line["target"]
                .as_str()
                .is_some_and(|target| target.starts_with("wharfinger"));
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
    let failures = lines
        .iter()
        .filter(|line| line["message"] == "attempt failed");
    assert_eq!(failures.count(), 2);
    // Without a collector, too, and the same on standard error.
    let said = worker.said();
    let settled = said
        .iter()
        .find(|line| line.contains("attempt settled"))
        .unwrap();
    assert!(settled.contains(TRACE), "{settled}");
}

#[tokio::test]
async fn the_number_of_files_is_bounded_and_nobody_else_reads_them() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_LOG_FILES__ROTATION", "hourly");
    world.set("WHARFINGER_LOG_FILES__KEEP", "3");
    let folder = world.data_dir().join("logs");
    fs::create_dir_all(&folder).unwrap();
    for hour in 10..20 {
        fs::write(
            folder.join(format!("worker.2020-01-01-{hour}.log")),
            "old\n",
        )
        .unwrap();
    }
    fs::write(folder.join("notes.txt"), "mine\n").unwrap();
    let mut worker = world.worker().await;
    stop(&mut worker).await;

    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.contains(&"notes.txt".to_owned()), "{names:?}");
    let logs: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("worker."))
        .collect();
    assert_eq!(logs.len(), 3, "{names:?}");
    let newest = fs::read_to_string(folder.join(logs[2])).unwrap();
    assert!(
        newest.contains("the worker reports on"),
        "{names:?}: {newest}"
    );
}

#[tokio::test]
async fn a_worker_inside_a_gateway_keeps_files_and_a_gateway_alone_does_not() {
    let world = World::embedded();
    let mut gateway = world.serve(&engine(1)).await;
    stop(&mut gateway).await;
    assert!(
        lines(&world)
            .iter()
            .any(|line| line.contains("the gateway listens on"))
    );
    let mode = fs::metadata(world.data_dir().join("logs"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");

    let world = World::fleet(Server::Postgres).await;
    let gateway = world.gateway().await;
    assert!(!world.data_dir().join("logs").exists());
    drop(gateway);

    let mut world = World::embedded();
    world.set("WHARFINGER_LOG_FILES__ROTATION", "never");
    let gateway = world.serve(&engine(1)).await;
    assert!(!world.data_dir().join("logs").exists());
    drop(gateway);
}

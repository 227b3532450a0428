//! The log's disk is full: the worker says so once, and goes on working.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use serde_json::Value;
use wharfinger_jobs::testing::small_disk::SmallDisk;

use crate::support::graphql::Client;
use crate::support::images::pushed;
use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::until;
use crate::support::world::World;

/// A worker's data directory on a disk.
fn on(disk: &SmallDisk) -> std::path::PathBuf {
    disk.path().join("data")
}

async fn pulls(world: &World, client: &Client, times: usize) {
    for _ in 0..times {
        let job = client.pull(&pushed(world, 10_000).await).await;
        client.succeeded(&job).await;
    }
}

#[tokio::test]
async fn a_worker_whose_log_files_have_no_space_says_it_once_and_works() {
    let disk = SmallDisk::mount(2);
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_LOG", "debug");
    let token = world.user("ada", &["--credits", "100000"]);
    let mut command = world.command(&["worker", "--host-name", "one"]);
    command.env("DOCKER_HOST", engine(1));
    command.env("WHARFINGER_DATA_DIR", on(&disk));
    let worker = Process::start(command, "the worker reports on http://").await;
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    client.online_host("one").await;

    disk.fill();
    pulls(&world, &client, 3).await;
    worker.logged("log files cannot be written").await;
    pulls(&world, &client, 2).await;
    disk.free();
    worker.logged("log files are written again").await;
    let last = client.pull(&pushed(&world, 10_000).await).await;
    client.succeeded(&last).await;

    let number = last.strip_prefix("job_").unwrap();
    until("the files have lines again", async || {
        let text = log_text(&disk);
        text.replace('-', "").contains(number).then_some(())
    })
    .await;
    let said = worker.said().join("\n");
    assert_eq!(said.matches("log files cannot be written").count(), 1);
    // One line was cut where the disk ended, and no other is damaged by that.
    let text = log_text(&disk);
    let is_damaged = |line: &&str| serde_json::from_str::<Value>(line).is_err();
    assert!(text.lines().filter(is_damaged).count() <= 1, "{text}");
}

fn log_text(disk: &SmallDisk) -> String {
    let files = fs::read_dir(on(disk).join("logs")).unwrap();
    files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect()
}

/// Ends with the test.
struct Quiet(Child);

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_worker_whose_standard_error_has_no_space_works() {
    let disk = SmallDisk::mount(2);
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_LOG", "debug");
    let token = world.user("ada", &["--credits", "100000"]);
    let log = disk.path().join("worker.log");
    let file = File::create(&log).unwrap();
    let mut command = world.command(&["worker", "--host-name", "one"]);
    command
        .env("DOCKER_HOST", engine(1))
        .env("WHARFINGER_DATA_DIR", on(&disk))
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file);
    let mut worker = Quiet(command.spawn().unwrap());
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    client.online_host("one").await;

    disk.fill();
    pulls(&world, &client, 3).await;
    let length = fs::metadata(&log).unwrap().len();
    disk.free();
    pulls(&world, &client, 1).await;
    until("standard error has lines again", async || {
        (fs::metadata(&log).unwrap().len() > length).then_some(())
    })
    .await;
    assert_eq!(worker.0.try_wait().unwrap(), None, "the worker lives");
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("panicked"), "{text}");
}

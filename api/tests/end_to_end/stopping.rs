//! Stopping in an orderly way: running jobs are handed back, and cost no attempt.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::books;
use crate::support::images::stuck;
use crate::support::servers::Server;
use crate::support::world::World;

async fn with_grace(grace: &str) -> World {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_WORKER__GRACE", grace);
    world
}

#[tokio::test]
async fn a_worker_that_stops_hands_its_pulls_to_another_one() {
    let world = with_grace("300ms").await;
    let (mut worker, _gateway, client) = world.work_for("ada").await;
    let (registry, job, _progress) = stuck(&world, &client).await;
    let before = client.job(&job).await;
    let _second = world.worker().await;

    worker.stop().await;
    registry.open();

    let done = client.succeeded(&job).await;
    let more = |field: &str| done[field].as_i64().unwrap() - before[field].as_i64().unwrap();
    assert_eq!((more("attempt"), more("maxAttempts")), (1, 1), "{done}");
    assert_eq!(done["attempts"][0]["error"], Value::Null, "{done}");
    books::in_order(&world, &client, 1, 0).await;
}

#[tokio::test]
async fn a_worker_that_stops_lets_a_pull_end_that_is_quick_enough() {
    let world = with_grace("1h").await;
    let (mut worker, _gateway, client) = world.work_for("ada").await;
    let (registry, job, _progress) = stuck(&world, &client).await;
    worker.terminate();
    worker.logged("stopping").await;
    registry.open();

    let status = worker.ended().await;
    assert!(status.success(), "{status}");
    let done = client.job(&job).await;
    assert_eq!(done["state"], "SUCCEEDED", "{done}");
    assert_eq!(done["attempt"], 1, "{done}");
    books::in_order(&world, &client, 1, 0).await;
}

#[tokio::test]
async fn a_worker_that_is_told_twice_ends_at_once() {
    let world = with_grace("1h").await;
    let (mut worker, _gateway, client) = world.work_for("ada").await;
    let (_registry, job, _progress) = stuck(&world, &client).await;
    worker.terminate();
    worker.logged("stopping").await;
    worker.terminate();
    let status = worker.ended().await;
    assert_eq!((status.code(), status.signal()), (Some(130), None));
    assert_eq!(client.job(&job).await["state"], "RUNNING");
}

const VIEWER: &str = "{ viewer { name } }";

#[tokio::test]
async fn a_gateway_that_stops_says_so_before_it_refuses() {
    let mut world = World::embedded();
    world.set("WHARFINGER_SHUTDOWN__UNREADY", "5s");
    let token = world.user("ada", &[]);
    let mut gateway = world.gateway().await;
    let client = gateway.client(&token);
    assert_eq!(client.get("/readyz").await.status(), 200);

    gateway.terminate();
    gateway.logged("stopping").await;
    let told = Instant::now();
    let unready = client.get("/readyz").await;
    assert_eq!(unready.status(), 503);
    let body: Value = unready.json().await.unwrap();
    assert_eq!(body["ready"], false, "{body}");
    assert_eq!(body["shutdown"], "under way", "{body}");
    // It serves on, and wants clients to go elsewhere with the next request.
    let answer = client.post(VIEWER, json!({})).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["connection"], "close");
    let status = gateway.ended().await;
    assert!(status.success(), "{status}");
    let served_on = told.elapsed();
    assert!(served_on >= Duration::from_secs(4), "{served_on:?}");
}

/// The load balancer asks each gateway a few times a second whether it is ready, and sends each request to one that was.
#[tokio::test]
async fn a_restart_behind_a_load_balancer_loses_no_request() {
    let mut world = World::fleet(Server::Postgres).await;
    world.set("WHARFINGER_SHUTDOWN__UNREADY", "4s");
    let token = world.user("ada", &[]);
    let (mut first, second) = (world.gateway().await, world.gateway().await);
    let clients = [first.client(&token), second.client(&token)];
    let ready = [AtomicBool::new(true), AtomicBool::new(true)];
    let over = AtomicBool::new(false);
    let checks = async {
        while !over.load(Ordering::Relaxed) {
            for (client, ready) in clients.iter().zip(&ready) {
                let now = client.try_get("/readyz").await;
                ready.store(now.is_some_and(|status| status == 200), Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let requests = async {
        let mut sent = 0;
        while !over.load(Ordering::Relaxed) {
            let next = (0..2).map(|more| (sent + more) % 2);
            let mut ready = next.filter(|gateway| ready[*gateway].load(Ordering::Relaxed));
            let gateway = ready.next().expect("one of the gateways is ready");
            let answer = clients[gateway].ask(VIEWER, json!({})).await;
            assert_eq!(answer["viewer"]["name"], "ada");
            sent += 1;
        }
        sent
    };
    let restart = async {
        first.stop().await;
        over.store(true, Ordering::Relaxed);
    };
    let ((), sent, ()) = tokio::join!(checks, requests, restart);
    println!("{sent} requests, all answered");
    assert!(sent > 20, "{sent}");
}

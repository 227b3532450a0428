//! `wharfinger pull`.

use super::toy::{Script, Toy};
use super::values::{failed, job, progress, user_error};
use super::{Bench, run};
use serde_json::Value;
use std::sync::Mutex;

/// A gateway with a job that is in these states in turn, and with these subscriptions.
fn toy<const N: usize>(jobs: [Value; N], scripts: Vec<Script>) -> Toy {
    Toy {
        jobs: Mutex::new(jobs.into()),
        scripts: Mutex::new(scripts.into()),
        ..Toy::default()
    }
}

const SUMMARY: &str = "\
Pulled redis:7 on host-1
  Digest    sha256:dddd
  Image ID  sha256:abcdef700000000000000000000000000000000000000000000000000
  Size      117.3 MB
  Charge    117.3 credits
";

#[tokio::test]
async fn a_pipe_gets_a_line_for_each_change_over_a_broken_connection() {
    let scripts = vec![
        Script::Cut(vec![
            progress(1, "RESOLVING", "WAITING"),
            progress(2, "DOWNLOADING", "DOWNLOADING"),
        ]),
        Script::Complete(vec![
            progress(2, "DOWNLOADING", "DOWNLOADING"),
            progress(3, "DOWNLOADING", "DONE"),
            progress(4, "DONE", "DONE"),
        ]),
    ];
    // Accepted, still running when the connection breaks, then ended.
    let toy = toy([job("RUNNING"), job("SUCCEEDED")], scripts);
    let (url, toy) = toy.serve().await;
    let outcome = run(&url, "pull redis:7").await;
    outcome.ended(0, "reconnecting");
    let expected = "\
redis:7: reading the manifest
bbbbbbbbbbbb: already there (2.0 MB)
redis:7: downloading 4.0 MB in 2 layers
aaaaaaaaaaaa: complete (2.0 MB)
redis:7: done
";
    assert_eq!(outcome.out, format!("{expected}{SUMMARY}"));
    let pulls = toy.pulls.lock().unwrap();
    assert_eq!(
        (pulls.len(), pulls[0].0.len(), pulls[0].1.as_str()),
        (1, 36, "redis:7")
    );
}

#[tokio::test]
async fn without_websockets_the_job_is_polled() {
    let mut toy = toy([job("QUEUED"), job("SUCCEEDED")], vec![]);
    toy.without_sockets = true;
    let (url, _) = toy.serve().await;
    let outcome = run(&url, "pull redis:7").await;
    outcome.ended(0, "asking every so often");
    assert_eq!(outcome.out, SUMMARY);
}

#[tokio::test]
async fn a_gateway_that_is_away_for_a_moment_is_asked_again_with_the_same_key() {
    let toy = toy([job("QUEUED")], vec![]);
    *toy.unavailable.lock().unwrap() = 2;
    let (url, toy) = toy.serve().await;
    let args = "pull redis:7 --host host-2 --idempotency-key k --detach";
    let outcome = run(&url, args).await;
    outcome.ended(0, "");
    assert_eq!(outcome.out, "job-1\n");
    assert_eq!(
        *toy.pulls.lock().unwrap(),
        [("k".to_owned(), "redis:7 on host-id-2".to_owned())]
    );
}

#[tokio::test]
async fn a_failed_job_says_why_and_json_has_it_too() {
    let end = failed("FAILED", "IMAGE_NOT_FOUND", "no\u{1b}[2J such tag");
    let toy = toy([job("QUEUED"), end], vec![Script::Complete(vec![])]);
    let (url, _) = toy.serve().await;
    let outcome = run(&url, "pull redis:7 --json").await;
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (1, "error: redis:7 failed: no such tag (IMAGE_NOT_FOUND)\n")
    );
    let json: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(json["state"], "FAILED");
    assert_eq!(json["error"]["code"], "IMAGE_NOT_FOUND");
}

#[tokio::test]
async fn a_failed_attempt_is_explained_once() {
    let retrying = |sequence| {
        let mut waiting = progress(sequence, "WAITING", "WAITING");
        waiting["state"] = "RETRYING".into();
        waiting
    };
    let frames = vec![retrying(1), retrying(2), progress(3, "DONE", "DONE")];
    let failed = failed("RETRYING", "REGISTRY_UNAVAILABLE", "docker.io is away");
    let toy = toy([failed, job("SUCCEEDED")], vec![Script::Complete(frames)]);
    let (url, _) = toy.serve().await;
    let outcome = run(&url, "pull redis:7").await;
    assert_eq!(
        (outcome.code, outcome.err.as_str()),
        (0, "attempt 1: docker.io is away (REGISTRY_UNAVAILABLE)\n")
    );
}

#[tokio::test]
async fn a_refusal_names_the_problem_and_what_to_do() {
    let toy = Toy {
        user_error: Some(user_error("INSUFFICIENT_CREDITS", "a pull needs 300")),
        ..Toy::default()
    };
    let (url, _) = toy.serve().await;
    let outcome = run(&url, "pull redis:7").await;
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    let refusal = "error: a pull needs 300 (INSUFFICIENT_CREDITS)\nhint: ";
    assert!(outcome.err.starts_with(refusal), "{outcome:?}");
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_running_and_says_so() {
    let resolving = progress(1, "RESOLVING", "WAITING");
    let toy = toy([job("RUNNING")], vec![Script::Hang(vec![resolving])]);
    let (url, toy) = toy.serve().await;
    let mut bench = Bench::new();
    bench.context.interrupt = Box::pin(async move { toy.hanging.notified().await });
    let outcome = bench.run(&url, "pull redis:7").await;
    outcome.ended(130, "`wharfinger jobs cancel job-1`");
}

#[tokio::test]
async fn an_unreachable_gateway_says_how_to_name_another() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/graphql", listener.local_addr().unwrap());
    drop(listener);
    let outcome = run(&url, "pull redis:7").await;
    outcome.ended(3, &url);
    outcome.ended(3, "WHARFINGER_URL");
}

//! `wharfinger pull`.

use super::toy::{Script, Toy};
use super::toy_types::{JobError, job, progress, user_error};
use super::{Bench, Outcome};
use std::sync::Mutex;

fn toy(scripts: Vec<Script>, end: &str) -> Toy {
    Toy {
        jobs: Mutex::new([job("QUEUED"), job(end)].into()),
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
    let mut toy = toy(scripts, "SUCCEEDED");
    // Accepted, still running when the connection breaks, then ended.
    toy.jobs = Mutex::new([job("RUNNING"), job("SUCCEEDED")].into());
    let (url, toy) = toy.serve().await;
    let Outcome { code, out, err } = Bench::new().run(&url, &["pull", "redis:7"]).await;
    assert_eq!(code, 0, "{err}");
    let expected = "\
redis:7: reading the manifest
bbbbbbbbbbbb: already there (2.0 MB)
redis:7: downloading 4.0 MB in 2 layers
aaaaaaaaaaaa: complete (2.0 MB)
redis:7: done
";
    assert_eq!(out, format!("{expected}{SUMMARY}"));
    assert!(err.contains("reconnecting"), "{err}");
    let pulls = toy.pulls.lock().unwrap();
    assert_eq!(
        (pulls.len(), pulls[0].0.len(), pulls[0].1.as_str()),
        (1, 36, "redis:7")
    );
}

#[tokio::test]
async fn without_websockets_the_job_is_polled() {
    let mut toy = toy(vec![], "SUCCEEDED");
    toy.without_sockets = true;
    let (url, _) = toy.serve().await;
    let outcome = Bench::new().run(&url, &["pull", "redis:7"]).await;
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, SUMMARY),
        "{}",
        outcome.err
    );
    assert!(
        outcome.err.contains("asking every so often"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn a_gateway_that_is_away_for_a_moment_is_asked_again_with_the_same_key() {
    let toy = toy(vec![Script::Complete(vec![])], "SUCCEEDED");
    *toy.unavailable.lock().unwrap() = 2;
    let (url, toy) = toy.serve().await;
    let args = [
        "pull",
        "redis:7",
        "--host",
        "host-2",
        "--idempotency-key",
        "k",
        "--detach",
    ];
    let outcome = Bench::new().run(&url, &args).await;
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "job-1\n"),
        "{}",
        outcome.err
    );
    assert_eq!(
        *toy.pulls.lock().unwrap(),
        [("k".to_owned(), "redis:7 on host-id-2".to_owned())]
    );
}

#[tokio::test]
async fn a_failed_job_says_why_and_json_has_it_too() {
    let toy = toy(vec![Script::Complete(vec![])], "FAILED");
    let error = JobError {
        code: "IMAGE_NOT_FOUND".into(),
        message: "no\u{1b}[2J such tag".into(),
        retryable: false,
    };
    toy.jobs.lock().unwrap()[1].error = Some(error);
    let (url, _) = toy.serve().await;
    let outcome = Bench::new().run(&url, &["pull", "redis:7", "--json"]).await;
    assert_eq!(outcome.code, 1);
    assert_eq!(
        outcome.err,
        "error: redis:7 failed: no such tag (IMAGE_NOT_FOUND)\n"
    );
    let json: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(
        (&json["state"], &json["error"]["code"]),
        (&"FAILED".into(), &"IMAGE_NOT_FOUND".into())
    );
}

#[tokio::test]
async fn a_failed_attempt_is_explained_once() {
    let retrying = |sequence| {
        let mut waiting = progress(sequence, "WAITING", "WAITING");
        waiting.state = "RETRYING".into();
        waiting
    };
    let frames = vec![retrying(1), retrying(2), progress(3, "DONE", "DONE")];
    let mut toy = toy(vec![Script::Complete(frames)], "SUCCEEDED");
    let mut failed = job("RETRYING");
    failed.error = Some(JobError {
        code: "REGISTRY_UNAVAILABLE".into(),
        message: "docker.io is away".into(),
        retryable: true,
    });
    toy.jobs = Mutex::new([failed, job("SUCCEEDED")].into());
    let (url, _) = toy.serve().await;
    let Outcome { code, err, .. } = Bench::new().run(&url, &["pull", "redis:7"]).await;
    assert_eq!(
        (code, err.as_str()),
        (0, "attempt 1: docker.io is away (REGISTRY_UNAVAILABLE)\n")
    );
}

#[tokio::test]
async fn a_refusal_names_the_problem_and_what_to_do() {
    let toy = Toy {
        user_error: Mutex::new(Some(user_error("INSUFFICIENT_CREDITS", "a pull needs 300"))),
        ..Toy::default()
    };
    let (url, _) = toy.serve().await;
    let outcome = Bench::new().run(&url, &["pull", "redis:7"]).await;
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    assert!(
        outcome
            .err
            .starts_with("error: a pull needs 300 (INSUFFICIENT_CREDITS)\nhint: "),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn ctrl_c_leaves_the_job_running_and_says_so() {
    let (url, toy) = toy(
        vec![Script::Hang(vec![progress(1, "RESOLVING", "WAITING")])],
        "RUNNING",
    )
    .serve()
    .await;
    let mut bench = Bench::new();
    let hanging = toy.hanging.clone();
    bench.context.interrupt = Box::pin(async move { hanging.notified().await });
    let outcome = bench.run(&url, &["pull", "redis:7"]).await;
    assert_eq!(outcome.code, 130);
    assert!(
        outcome.err.contains("`wharfinger jobs cancel job-1`"),
        "{}",
        outcome.err
    );
}

#[tokio::test]
async fn an_unreachable_gateway_says_how_to_name_another() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/graphql", listener.local_addr().unwrap());
    drop(listener);
    let outcome = Bench::new().run(&url, &["pull", "redis:7"]).await;
    assert_eq!(outcome.code, 3);
    assert!(
        outcome.err.contains(&url) && outcome.err.contains("WHARFINGER_URL"),
        "{}",
        outcome.err
    );
}

//! `wharfinger login`, `images`, `rm`, `jobs` and `balance`.

use super::toy::Toy;
use super::toy_types::{Job, image, job};
use super::{Bench, Typed};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

fn holding(images: Vec<super::toy_types::Image>) -> Toy {
    Toy {
        images: Mutex::new(images),
        ..Toy::default()
    }
}

fn removal() -> Job {
    Job {
        kind: "REMOVE_IMAGE".into(),
        ..job("SUCCEEDED")
    }
}

#[tokio::test]
async fn a_token_is_kept_for_its_gateway_and_readable_by_its_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let (url, _) = Toy::default().serve().await;
    let (other, _) = Toy::default().serve().await;
    let outcome = Bench::signed_out(home.path())
        .run(&url, &["login", "--with-token"])
        .await;
    assert_eq!(
        outcome.out,
        format!("Signed in to {url} as alice\n"),
        "{}",
        outcome.err
    );
    let file = home.path().join("wharfinger/credentials.toml");
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        Bench::signed_out(home.path())
            .run(&url, &["balance"])
            .await
            .code,
        0
    );
    let elsewhere = Bench::signed_out(home.path())
        .run(&other, &["balance"])
        .await;
    assert_eq!(elsewhere.code, 4);
    assert!(
        elsewhere.err.contains("`wharfinger login`"),
        "{}",
        elsewhere.err
    );
}

#[tokio::test]
async fn a_password_is_exchanged_for_a_token_and_a_wrong_one_keeps_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (url, _) = Toy::default().serve().await;
    let mut bench = Bench::signed_out(home.path());
    bench.context.input = Box::new(Typed {
        interactive: true,
        name: "alice",
        secret: "wrong",
        all: "",
    });
    let outcome = bench.run(&url, &["login"]).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("wrong name or password"),
        "{}",
        outcome.err
    );
    assert!(!home.path().join("wharfinger").exists());
    assert_eq!(
        Bench::signed_out(home.path())
            .run(&url, &["login"])
            .await
            .code,
        0
    );
    assert_eq!(
        Bench::signed_out(home.path())
            .run(&url, &["balance"])
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn login_without_a_terminal_asks_for_a_token() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = Bench::signed_out(home.path());
    bench.context.input = Box::new(Typed {
        interactive: false,
        name: "",
        secret: "",
        all: "",
    });
    let outcome = bench.run("http://127.0.0.1:9", &["login"]).await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.err.contains("--with-token"), "{}", outcome.err);
}

#[tokio::test]
async fn images_are_listed_over_all_pages() {
    let (url, _) = holding(vec![image("image-1", "7", 1), image("image-2", "6", 2)])
        .serve()
        .await;
    let outcome = Bench::new().run(&url, &["images"]).await;
    let lines: Vec<_> = outcome.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}{}", outcome.out, outcome.err);
    assert!(
        lines[0].starts_with("REFERENCE   SIZE       CHARGE   HOST     VISIBILITY   PULLED"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].starts_with("redis:7     117.3 MB   117.3    host-1   private "),
        "{}",
        lines[1]
    );
    assert!(lines[2].ends_with("   abcdef600000"), "{}", lines[2]);
    let json = Bench::new().run(&url, &["images", "--json"]).await.out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["familiarName"], "redis:6");
}

#[tokio::test]
async fn an_image_goes_by_each_of_its_names_and_its_charge_comes_back() {
    for name in ["redis:7", "docker.io/library/redis:7", "image-1", "abcdef7"] {
        let toy = holding(vec![image("image-2", "6", 1), image("image-1", "7", 1)]);
        toy.jobs.lock().unwrap().push_back(removal());
        let (url, toy) = toy.serve().await;
        let outcome = Bench::new().run(&url, &["rm", name]).await;
        assert_eq!(
            outcome.out, "Removed redis:7 from host-1: 117.3 credits came back, 882.7 available\n",
            "{}",
            outcome.err
        );
        assert_eq!(*toy.removed.lock().unwrap(), ["image-1"]);
    }
}

#[tokio::test]
async fn a_name_on_two_hosts_needs_a_choice() {
    let toy = holding(vec![image("image-1", "7", 1), image("image-2", "7", 2)]);
    toy.jobs.lock().unwrap().push_back(removal());
    let (url, toy) = toy.serve().await;
    let outcome = Bench::new().run(&url, &["rm", "redis:7"]).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("image-1  redis:7 on host-1") && outcome.err.contains("image-2"),
        "{}",
        outcome.err
    );
    assert!(toy.removed.lock().unwrap().is_empty());
    assert_eq!(
        Bench::new()
            .run(&url, &["rm", "redis:7", "--host", "host-2"])
            .await
            .code,
        0
    );
    assert_eq!(*toy.removed.lock().unwrap(), ["image-2"]);
}

#[tokio::test]
async fn one_image_that_is_not_there_does_not_keep_the_others() {
    let toy = holding(vec![image("image-1", "7", 1)]);
    toy.jobs.lock().unwrap().push_back(removal());
    let (url, toy) = toy.serve().await;
    let outcome = Bench::new().run(&url, &["rm", "nginx", "redis:7"]).await;
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.err.contains("you hold no image nginx") && outcome.err.contains("1 of 2 failed"),
        "{}",
        outcome.err
    );
    assert_eq!(*toy.removed.lock().unwrap(), ["image-1"]);
}

#[tokio::test]
async fn jobs_are_listed_shown_cancelled_and_retried() {
    let toy = Toy::default();
    *toy.jobs.lock().unwrap() = [job("CANCELLED")].into();
    let (url, _) = toy.serve().await;
    let listed = Bench::new()
        .run(&url, &["jobs", "--state", "cancelled"])
        .await;
    assert!(
        listed
            .out
            .contains("job-1   pull   redis:7     host-1   CANCELLED   1/5       -"),
        "{}{}",
        listed.out,
        listed.err
    );
    assert_eq!(
        Bench::new()
            .run(&url, &["jobs", "--state", "dead"])
            .await
            .out
            .lines()
            .count(),
        1
    );
    let shown = Bench::new().run(&url, &["jobs", "job-1"]).await;
    assert!(
        shown.out.contains("Held       300 credits\n"),
        "{}{}",
        shown.out,
        shown.err
    );
    assert_eq!(
        Bench::new()
            .run(&url, &["jobs", "cancel", "job-1"])
            .await
            .out,
        "Cancelled job-1\n"
    );
    assert_eq!(
        Bench::new()
            .run(&url, &["jobs", "retry", "job-1"])
            .await
            .code,
        0
    );
    let missing = Bench::new().run(&url, &["jobs", "job-9"]).await;
    assert_eq!((missing.code, missing.out.as_str()), (1, ""));
}

#[tokio::test]
async fn a_watch_prints_what_changes_until_it_is_interrupted() {
    let toy = Toy {
        updates: Mutex::new(vec![job("QUEUED"), job("RUNNING")]),
        ..Toy::default()
    };
    *toy.jobs.lock().unwrap() = [job("QUEUED")].into();
    let (url, toy) = toy.serve().await;
    let mut bench = Bench::new();
    let (hanging, seen) = (toy.hanging.clone(), bench.out.clone());
    bench.context.interrupt = Box::pin(async move {
        hanging.notified().await;
        while !seen.text().contains("RUNNING") {
            tokio::task::yield_now().await;
        }
    });
    let outcome = bench.run(&url, &["jobs", "--watch"]).await;
    assert_eq!(outcome.code, 130);
    assert!(
        outcome
            .out
            .ends_with("\njob-1  pull  redis:7  RUNNING    1/5\n"),
        "{}",
        outcome.out
    );
    assert_eq!(outcome.out.lines().count(), 3, "{}", outcome.out);
}

#[tokio::test]
async fn a_balance_is_three_lines_or_json_and_colour_is_for_terminals() {
    let (url, _) = Toy::default().serve().await;
    let plain = Bench::new().run(&url, &["balance"]).await;
    assert_eq!(
        plain.out,
        "Available  882.7\nHeld       0\nTotal      882.7\n"
    );
    let json = Bench::new().run(&url, &["balance", "--json"]).await;
    assert_eq!(
        json.out,
        "{\"available\":\"882.7\",\"held\":\"0\",\"total\":\"882.7\"}\n"
    );
    let mut bench = Bench::new();
    bench.context.terminal = bench.context.terminal.coloured();
    assert!(
        bench
            .run(&url, &["balance"])
            .await
            .out
            .starts_with("Available  \u{1b}[1m882.7\u{1b}[0m\n")
    );
}

//! `wharfinger login`, `images`, `rm`, `jobs` and `balance`.

use super::toy::{Script, Toy};
use super::values::{image, job};
use super::{Bench, Typed, run};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

/// A gateway with these images, where removals succeed.
fn holding(images: Vec<Value>) -> Toy {
    let mut removal = job("SUCCEEDED");
    removal["kind"] = "REMOVE_IMAGE".into();
    Toy {
        images,
        jobs: Mutex::new([removal].into()),
        ..Toy::default()
    }
}

#[tokio::test]
async fn a_token_is_kept_for_its_gateway_and_readable_by_its_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let (url, _) = Toy::default().serve().await;
    let (other, _) = Toy::default().serve().await;
    let signed_out = || Bench::signed_out(home.path());
    let login = signed_out().run(&url, "login --with-token").await;
    assert_eq!(
        login.out,
        format!("Signed in to {url} as alice\n"),
        "{login:?}"
    );
    let file = home.path().join("wharfinger/credentials.toml");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    signed_out().run(&url, "balance").await.ended(0, "");
    let elsewhere = signed_out().run(&other, "balance").await;
    elsewhere.ended(4, "`wharfinger login`");
}

#[tokio::test]
async fn a_password_is_exchanged_for_a_token_and_a_wrong_one_keeps_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (url, _) = Toy::default().serve().await;
    let signed_out = || Bench::signed_out(home.path());
    let mut bench = signed_out();
    bench.context.input = Box::new(Typed {
        interactive: true,
        secret: "wrong",
    });
    let refused = bench.run(&url, "login").await;
    refused.ended(1, "wrong name or password");
    assert!(!home.path().join("wharfinger").exists());
    signed_out().run(&url, "login").await.ended(0, "");
    signed_out().run(&url, "balance").await.ended(0, "");
}

#[tokio::test]
async fn login_without_a_terminal_asks_for_a_token() {
    let home = tempfile::tempdir().unwrap();
    let mut bench = Bench::signed_out(home.path());
    bench.context.input = Box::new(Typed {
        interactive: false,
        secret: "",
    });
    let refused = bench.run("http://127.0.0.1:9", "login").await;
    refused.ended(2, "--with-token");
}

#[tokio::test]
async fn images_are_listed_over_all_pages() {
    let (url, _) = holding(vec![image("image-1", "7", 1), image("image-2", "6", 2)])
        .serve()
        .await;
    let listed = run(&url, "images").await;
    let lines: Vec<_> = listed.out.lines().collect();
    assert_eq!(lines.len(), 3, "{listed:?}");
    for (line, expected) in [
        (
            0,
            "REFERENCE   SIZE       CHARGE   HOST     VISIBILITY   PULLED",
        ),
        (1, "redis:7     117.3 MB   117.3    host-1   private "),
    ] {
        assert!(lines[line].starts_with(expected), "{listed:?}");
    }
    assert!(lines[2].ends_with("   abcdef600000"), "{listed:?}");
    let json = run(&url, "images --json").await.out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json[1]["familiarName"], "redis:6");
}

#[tokio::test]
async fn an_image_goes_by_each_of_its_names_and_its_charge_comes_back() {
    for name in ["redis:7", "docker.io/library/redis:7", "image-1", "abcdef7"] {
        let toy = holding(vec![image("image-2", "6", 1), image("image-1", "7", 1)]);
        let (url, toy) = toy.serve().await;
        let removed = run(&url, &format!("rm {name}")).await;
        assert_eq!(
            removed.out, "Removed redis:7 from host-1: 117.3 credits came back, 882.7 available\n",
            "{removed:?}"
        );
        assert_eq!(*toy.removed.lock().unwrap(), ["image-1"]);
    }
}

#[tokio::test]
async fn a_name_on_two_hosts_needs_a_choice() {
    let toy = holding(vec![image("image-1", "7", 1), image("image-2", "7", 2)]);
    let (url, toy) = toy.serve().await;
    let ambiguous = run(&url, "rm redis:7").await;
    ambiguous.ended(1, "image-1  redis:7 on host-1");
    ambiguous.ended(1, "image-2");
    assert!(toy.removed.lock().unwrap().is_empty());
    run(&url, "rm redis:7 --host host-2").await.ended(0, "");
    assert_eq!(*toy.removed.lock().unwrap(), ["image-2"]);
}

#[tokio::test]
async fn one_image_that_is_not_there_does_not_keep_the_others() {
    let (url, toy) = holding(vec![image("image-1", "7", 1)]).serve().await;
    let outcome = run(&url, "rm nginx redis:7").await;
    outcome.ended(1, "you hold no image nginx");
    outcome.ended(1, "1 of 2 failed");
    assert_eq!(*toy.removed.lock().unwrap(), ["image-1"]);
}

#[tokio::test]
async fn jobs_are_listed_shown_cancelled_and_retried() {
    let toy = Toy::default();
    *toy.jobs.lock().unwrap() = [job("CANCELLED")].into();
    let (url, _) = toy.serve().await;
    let listed = run(&url, "jobs --state cancelled").await;
    let row = "job-1   pull   redis:7     host-1   CANCELLED   1/5       -";
    assert!(listed.out.contains(row), "{listed:?}");
    let dead = run(&url, "jobs --state dead").await;
    assert_eq!(dead.out.lines().count(), 1);
    let shown = run(&url, "jobs job-1").await;
    assert!(shown.out.contains("Held       300 credits\n"), "{shown:?}");
    let cancelled = run(&url, "jobs cancel job-1").await;
    assert_eq!(cancelled.out, "Cancelled job-1\n");
    run(&url, "jobs retry job-1").await.ended(0, "");
    let missing = run(&url, "jobs job-9").await;
    assert_eq!((missing.code, missing.out.as_str()), (1, ""));
}

#[tokio::test]
async fn a_watch_prints_what_changes_until_it_is_interrupted() {
    let toy = Toy {
        scripts: Mutex::new([Script::Hang(vec![job("QUEUED"), job("RUNNING")])].into()),
        jobs: Mutex::new([job("QUEUED")].into()),
        ..Toy::default()
    };
    let (url, toy) = toy.serve().await;
    let mut bench = Bench::new();
    let seen = bench.out.clone();
    bench.context.interrupt = Box::pin(async move {
        toy.hanging.notified().await;
        while !seen.text().contains("RUNNING") {
            tokio::task::yield_now().await;
        }
    });
    let watched = bench.run(&url, "jobs --watch").await;
    watched.ended(130, "");
    let change = "\njob-1  pull  redis:7  RUNNING    1/5\n";
    assert!(watched.out.ends_with(change), "{watched:?}");
    assert_eq!(watched.out.lines().count(), 3, "{watched:?}");
}

#[tokio::test]
async fn a_balance_is_three_lines_or_json_and_colour_is_for_terminals() {
    let (url, _) = Toy::default().serve().await;
    let plain = run(&url, "balance").await.out;
    assert_eq!(plain, "Available  882.7\nHeld       0\nTotal      882.7\n");
    let json = run(&url, "balance --json").await.out;
    assert_eq!(
        json,
        "{\"available\":\"882.7\",\"held\":\"0\",\"total\":\"882.7\"}\n"
    );
    let mut bench = Bench::new();
    bench.context.terminal = bench.context.terminal.coloured();
    let coloured = bench.run(&url, "balance").await.out;
    assert!(coloured.starts_with("Available  \u{1b}[1m882.7\u{1b}[0m\n"));
}

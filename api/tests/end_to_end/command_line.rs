//! The commands of the program.

use std::process::{Command, Output};

use wharfinger_jobs::testing::image::TestImage;

use crate::support::process::Process;
use crate::support::servers::{engine, random_layer, unique_name};
use crate::support::world::World;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_names_every_command() {
    let world = World::embedded();
    let output = world.run(&["--help"]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    for command in [
        "serve",
        "worker",
        "migrate",
        "schema",
        "user",
        "login",
        "logout",
        "pull",
        "images",
        "rm",
        "jobs",
        "balance",
        "statement",
    ] {
        let named = |line: &str| line.trim_start().split(' ').next() == Some(command);
        assert!(help.lines().any(named), "{command} in {help}");
    }
    for command in ["serve", "worker", "pull", "rm"] {
        assert!(world.run(&[command, "--help"]).status.success());
    }
}

#[test]
fn making_a_user_prints_a_token_and_nothing_else() {
    let world = World::embedded();
    let output = world.run(&["user", "create", "ada"]);
    assert!(output.status.success());
    let printed = text(&output.stdout);
    let token = printed.strip_suffix('\n').unwrap();
    assert!(
        !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic()),
        "{printed:?}"
    );

    let again = world.run(&["user", "create", "ADA"]);
    assert!(!again.status.success());
    assert_eq!(text(&again.stdout), "");
    assert_eq!(text(&again.stderr).lines().count(), 1);
}

#[test]
fn a_bad_setting_stops_the_start_with_one_line_that_names_it() {
    let world = World::embedded();
    for (variable, value, key) in [
        (
            "WHARFINGER_RETRY__MAX_ATTEMPTS",
            "many",
            "retry.max_attempts",
        ),
        ("WHARFINGER_WORKER__LEASE", "0s", "worker.lease"),
        ("WHARFINGER_WORKER__LAESE", "2s", "worker.laese"),
        ("WHARFINGER_REGISTRIES__ALLOW", "a b", "registries.allow"),
        ("DATABASE_URL", "oracle://secret@x", "database_url"),
        ("DOCKER_HOST", "ftp://x", "docker_host"),
        ("WHARFINGER_LISTEN", "nowhere", "listen"),
    ] {
        let mut command = world.command(&["serve"]);
        let output = command.env(variable, value).output().unwrap();
        assert!(!output.status.success(), "{variable}");
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(key), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

/// Nothing brings this database up to date, so the worker says what it misses, and ends.
#[test]
fn a_worker_leaves_the_database_as_it_is_where_asked() {
    let mut world = World::embedded();
    // Nobody listens there, and the worker does not come so far.
    world.set("REDIS_URL", "redis://127.0.0.1:1");
    for _ in 0..2 {
        let output = world.run(&["worker", "--no-migrate"]);
        assert!(!output.status.success());
        let error = text(&output.stderr);
        assert!(error.contains("no such table"), "{error}");
    }
}

/// Runs a client's command against a gateway.
fn client(world: &World, gateway: &Process, token: &str, arguments: &[&str]) -> Output {
    let mut command: Command = world.command(arguments);
    command
        .env("WHARFINGER_URL", format!("http://{}", gateway.address))
        .env("WHARFINGER_TOKEN", token)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_script_pulls_lists_and_removes() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.serve(&engine(1)).await;
    let name = unique_name();
    let image = TestImage::new(vec![random_layer(1_000_000)]);
    world.registry.push(&name, "v1", &image).await;
    let reference = format!("{}/{name}:v1", world.registry.address);
    let run = |arguments: &[&str]| client(&world, &gateway, &token, arguments);

    let pulled = run(&["pull", &reference]);
    let (out, errors) = (text(&pulled.stdout), text(&pulled.stderr));
    assert_eq!(pulled.status.code(), Some(0), "{out}{errors}");
    let all = format!("{out}{errors}");
    assert!(
        !all.contains('\u{1b}') && !all.contains('\r'),
        "no bars in a pipe: {all:?}"
    );
    assert!(all.contains(&name), "{all}");
    let images = run(&["images"]);
    assert!(
        text(&images.stdout).contains(&name),
        "{}",
        text(&images.stdout)
    );
    let balance = run(&["balance"]);
    assert!(
        text(&balance.stdout).contains("999"),
        "{}",
        text(&balance.stdout)
    );
    let jobs = run(&["jobs"]);
    assert!(text(&jobs.stdout).contains(&name), "{}", text(&jobs.stdout));
    let removed = run(&["rm", &reference]);
    assert_eq!(removed.status.code(), Some(0), "{}", text(&removed.stderr));
    assert!(!text(&run(&["images"]).stdout).contains(&name));

    assert_eq!(run(&["pull", "NO"]).status.code(), Some(1));
    assert_eq!(run(&["pull"]).status.code(), Some(2));
    let stranger = client(&world, &gateway, "wharf_nothing", &["balance"]);
    assert_eq!(
        stranger.status.code(),
        Some(4),
        "{}",
        text(&stranger.stderr)
    );
    drop(gateway);
    let mut nobody = world.command(&["balance"]);
    nobody
        .env("WHARFINGER_URL", "http://127.0.0.1:1")
        .env("WHARFINGER_TOKEN", &token);
    assert_eq!(nobody.output().unwrap().status.code(), Some(3));
}

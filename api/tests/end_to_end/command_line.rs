//! The commands of the program.

use std::process::Output;

use crate::support::images::push;
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
    let all = "serve worker migrate schema user login logout pull images rm jobs balance statement";
    for command in all.split(' ') {
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
        ("WHARFINGER_WORKER__LAESE", "2s", "worker.laese"),
        ("DOCKER_HOST", "ftp://x", "docker_host"),
        ("WHARFINGER_LISTEN", "nowhere", "listen"),
    ] {
        let mut command = world.command(&["serve"]);
        let output = command.env(variable, value).output().unwrap();
        assert!(!output.status.success(), "{variable}");
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(key), "{error}");
    }
}

/// Nothing brings this database up to date, so the worker says what it misses, and ends.
#[test]
fn a_worker_leaves_the_database_as_it_is_where_asked() {
    let mut world = World::embedded();
    // Nobody listens there, and the worker does not come so far.
    world.set("REDIS_URL", "redis://127.0.0.1:1");
    for _ in 0..2 {
        let error = world.refused(&["worker", "--no-migrate"]);
        assert!(error.contains("no such table"), "{error}");
    }
}

/// Runs a client's command against a gateway.
fn client(world: &World, url: &str, token: &str, arguments: &[&str]) -> Output {
    let mut command = world.command(arguments);
    command.env("WHARFINGER_URL", url);
    command.env("WHARFINGER_TOKEN", token).output().unwrap()
}

#[tokio::test]
async fn a_script_pulls_lists_and_removes() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.serve().await;
    let name = push(&world, 1_000_000).await;
    let reference = format!("{}/{name}", world.registry.address);
    let url = format!("http://{}", gateway.address);
    let run = |arguments: &[&str]| client(&world, &url, &token, arguments);

    let pulled = run(&["pull", &reference]);
    let all = text(&[pulled.stdout, pulled.stderr].concat());
    assert_eq!(pulled.status.code(), Some(0), "{all}");
    let bars = all.contains(['\u{1b}', '\r']);
    assert!(!bars, "no bars in a pipe: {all:?}");
    assert!(all.contains(&name), "{all}");
    for (command, shown) in [("images", &*name), ("balance", "999"), ("jobs", &name)] {
        let said = text(&run(&[command]).stdout);
        assert!(said.contains(shown), "{command}: {said}");
    }
    let removed = run(&["rm", &reference]);
    assert_eq!(removed.status.code(), Some(0), "{}", text(&removed.stderr));
    assert!(!text(&run(&["images"]).stdout).contains(&name));

    assert_eq!(run(&["pull", "NO"]).status.code(), Some(1));
    assert_eq!(run(&["pull"]).status.code(), Some(2));
    let stranger = client(&world, &url, "wharf_nothing", &["balance"]);
    let said = text(&stranger.stderr);
    assert_eq!(stranger.status.code(), Some(4), "{said}");
    let unreachable = client(&world, "http://127.0.0.1:1", &token, &["balance"]);
    assert_eq!(unreachable.status.code(), Some(3));
}

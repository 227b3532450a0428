//! Who may read the files of a data directory: their owner, whichever command made them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::world::World;

/// The permissions of a file or directory.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Fails where others than the owner may do anything with the directory or what is in it. Returns how many files there are.
fn private(directory: &Path) -> usize {
    assert_eq!(mode(directory), 0o700, "{}", directory.display());
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += private(&path);
        } else {
            files += 1;
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
    files
}

/// The program as someone runs it whose umask lets everybody read and write.
fn open_handed(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 000 && exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell
}

#[tokio::test]
async fn every_command_makes_files_for_their_owner_alone() {
    for command in [&["migrate"][..], &["user", "create", "ada"]] {
        let world = World::embedded();
        let made = open_handed(&world.command(command)).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        assert!(private(&world.data_dir()) >= 1);
    }

    let world = World::embedded();
    let mut serve = open_handed(&world.command(&["serve", "--host-name", "one"]));
    serve.env("DOCKER_HOST", engine(1));
    let gateway = Process::start(serve, "the gateway listens on http://").await;
    // The database with its log and index, the key, and a log file.
    assert!(private(&world.data_dir()) >= 5);
    drop(gateway);

    let world = World::fleet(Server::Postgres).await;
    let mut work = open_handed(&world.command(&["worker", "--host-name", "one"]));
    work.env("DOCKER_HOST", engine(1));
    let worker = Process::start(work, "the worker reports on http://").await;
    assert!(private(&world.data_dir()) >= 1);
    drop(worker);
}

#[tokio::test]
async fn files_of_an_older_version_are_tightened_and_that_is_said_once() {
    let world = World::embedded();
    world.user("ada", &[]);
    let (directory, file) = (world.data_dir(), world.data_dir().join("wharfinger.db"));
    let first = world.serve().await;
    drop(first);
    set_mode(&directory, 0o755);
    set_mode(&directory.join("logs"), 0o755);
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            set_mode(&path, 0o644);
        }
    }
    let gateway = world.serve().await;
    private(&directory);
    let said = gateway.said();
    for path in [&directory, &file] {
        let named = format!("{} could be read", path.display());
        let lines = said.iter().filter(|line| line.contains(&named));
        assert_eq!(lines.count(), 1, "{named}: {said:?}");
    }
    drop(gateway);
    let again = world.serve().await;
    let loose = |line: &&String| line.contains("could be read");
    assert_eq!(again.said().iter().find(loose), None);
    drop(again);
}

#[tokio::test]
async fn a_directory_that_others_use_too_keeps_its_mode() {
    let mut world = World::embedded();
    let shared = world.data_dir();
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("of-another-program"), "").unwrap();
    set_mode(&shared, 0o755);
    set_mode(&shared.join("of-another-program"), 0o644);
    world.user("ada", &[]);
    let gateway = world.gateway().await;
    assert_eq!(mode(&shared), 0o755);
    assert_eq!(mode(&shared.join("of-another-program")), 0o644);
    assert_eq!(mode(&shared.join("wharfinger.db")), 0o600);
    let said = gateway.said().join("\n");
    assert!(said.contains("other files in it"), "{said}");
    drop(gateway);

    // A database elsewhere is for its owner alone too.
    let elsewhere = tempfile::TempDir::new().unwrap();
    let file = elsewhere.path().join("some.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    world.set("DATABASE_URL", &url);
    let made = open_handed(&world.command(&["migrate"])).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(mode(&file), 0o600);
}

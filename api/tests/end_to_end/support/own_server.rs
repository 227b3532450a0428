//! Database servers and Docker engines of one test: with their data on a small disk, or such that they keep what they have
//! committed when they are killed, which the shared ones do not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use wharfinger_jobs::testing::small_disk::SmallDisk;

use super::servers::{Server, database_on};
use super::until;

/// A server that `servers.sh` started.
struct OwnServer {
    kind: &'static str,
    files: PathBuf,
    /// Committed transactions outlast a kill.
    durable: bool,
}

impl OwnServer {
    fn start(kind: &'static str, directory: &Path, durable: bool) -> Self {
        let files = directory.join("s");
        let server = Self {
            kind,
            files,
            durable,
        };
        server.start_again();
        server
    }

    /// Starts it where it has ended, with the same files on the same port; does nothing while it runs.
    fn start_again(&self) {
        let before = self.port();
        assert!(self.script("start"), "{} starts", self.kind);
        assert!(
            before.is_none() || before == self.port(),
            "the port is taken"
        );
    }

    /// The port that it listens on; none before its first start.
    fn port(&self) -> Option<String> {
        let port = fs::read_to_string(self.files.join("port")).ok()?;
        Some(port.trim().to_owned())
    }

    fn script(&self, what: &str) -> bool {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../jobs/dev/servers.sh");
        let mut command = Command::new(script);
        command.args([what, self.kind]).arg(&self.files);
        if self.durable {
            command.env("WHARFINGER_TEST_DURABLE", "1");
        }
        command.stdin(Stdio::null()).status().unwrap().success()
    }
}

/// A server on a disk of its own. It ends with this, and its disk after it.
pub(crate) struct DiskServer {
    server: OwnServer,
    pub(crate) disk: SmallDisk,
}

impl DiskServer {
    /// Starts a server of this kind on a disk of so many megabytes.
    pub(crate) fn start(kind: &'static str, megabytes: u32) -> Self {
        let disk = SmallDisk::mount(megabytes);
        let server = OwnServer::start(kind, disk.path(), false);
        Self { server, disk }
    }

    /// Starts it where it has ended; does nothing while it runs.
    pub(crate) fn start_again(&self) {
        self.server.start_again();
    }

    /// `unix://…` of an engine.
    pub(crate) fn docker_host(&self) -> String {
        format!("unix://{}", self.server.files.join("docker.sock").display())
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> String {
        self.server.port().unwrap()
    }
}

impl Drop for DiskServer {
    fn drop(&mut self) {
        // With space: a server writes when it stops, too.
        self.disk.free();
        self.server.script("stop");
    }
}

/// A database server that is durable. It ends with this.
pub(crate) struct DurableServer {
    server: OwnServer,
    _directory: TempDir,
}

impl DurableServer {
    /// Starts a server of this kind, without any database of ours.
    pub(crate) fn start(kind: Server) -> Self {
        let directory = TempDir::new().unwrap();
        // PostgreSQL's user has to get in.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
        let kind = match kind {
            Server::Postgres => "postgres",
            Server::MariaDb => "mariadb",
        };
        Self {
            server: OwnServer::start(kind, directory.path(), true),
            _directory: directory,
        }
    }

    /// The URL of a new, empty database on it.
    pub(crate) async fn database(&self) -> String {
        let port = self.server.port().unwrap();
        let own = match self.server.kind {
            "postgres" => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            _ => format!("mysql://root@127.0.0.1:{port}/mysql"),
        };
        database_on(&own).await
    }

    /// Starts it where it has ended.
    pub(crate) fn start_again(&self) {
        self.server.start_again();
    }

    /// kill -9 of the server and of the processes that it has for its connections. Returns when all are gone.
    pub(crate) async fn crash(&self) {
        let record = fs::read_to_string(self.server.files.join("process")).unwrap();
        let server: i32 = record.split(' ').next().unwrap().parse().unwrap();
        let mut killed = vec![server];
        until("the database server is gone", async || {
            // Each works in the directory with its data. One that has just been started is found in the next look.
            killed.extend(processes_in(&self.server.files.join("data")));
            for pid in killed.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                // It may have ended with the server.
                let _ = kill_process(pid, Signal::KILL);
            }
            killed.retain(|pid| !is_gone(*pid));
            killed.is_empty().then_some(())
        })
        .await;
        // PostgreSQL takes a process that nobody has waited for yet for a running one, and would not start.
        let _ = fs::remove_file(self.server.files.join("data/postmaster.pid"));
    }
}

/// The processes whose working directory this is.
fn processes_in(directory: &Path) -> Vec<i32> {
    let directory = directory.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|at| at == directory))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}

/// Whether nothing of a process runs any more, even where its parent has not waited for it: the first of its threads may be
/// dead while others still have its files open.
fn is_gone(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.starts_with('Z') && threads <= 1
}

impl Drop for DurableServer {
    fn drop(&mut self) {
        self.server.script("stop");
    }
}

//! A database server or a Docker engine of one test, with its data on a small disk.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use wharfinger_jobs::testing::small_disk::SmallDisk;

/// A server that `servers.sh` started. It ends with this, and its disk after it.
pub(crate) struct DiskServer {
    kind: &'static str,
    pub(crate) disk: SmallDisk,
}

impl DiskServer {
    /// Starts a server of this kind on a disk of so many megabytes.
    pub(crate) fn start(kind: &'static str, megabytes: u32) -> Self {
        let disk = SmallDisk::mount(megabytes);
        let server = Self { kind, disk };
        server.start_again();
        server
    }

    /// Starts it where it has ended; does nothing while it runs.
    pub(crate) fn start_again(&self) {
        assert!(self.script("start"), "{} starts", self.kind);
    }

    /// `unix://…` of an engine.
    pub(crate) fn docker_host(&self) -> String {
        format!("unix://{}", self.directory().join("docker.sock").display())
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> String {
        let port = std::fs::read_to_string(self.directory().join("port")).unwrap();
        port.trim().to_owned()
    }

    fn directory(&self) -> PathBuf {
        self.disk.path().join("s")
    }

    fn script(&self, what: &str) -> bool {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../jobs/dev/servers.sh");
        let mut command = Command::new(script);
        command
            .args([what, self.kind])
            .arg(self.directory())
            .stdin(Stdio::null());
        command.status().unwrap().success()
    }
}

impl Drop for DiskServer {
    fn drop(&mut self) {
        // With space: a server writes when it stops, too.
        self.disk.free();
        self.script("stop");
    }
}

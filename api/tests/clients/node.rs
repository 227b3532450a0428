//! Runs a script of this folder with node: other projects' clients against our endpoint.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// A running script, which ends with this.
pub(crate) struct Script {
    name: String,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts a script of this folder. What it says on standard error is shown as it comes.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let installed = Path::new(FOLDER).join("node_modules");
        assert!(
            installed.is_dir(),
            "the packages are missing: run jobs/dev/clients.sh"
        );
        let mut process = Command::new("node")
            .arg(Path::new(FOLDER).join(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs: jobs/dev/clients.sh installs it");
        let stdout = process.stdout.take().unwrap();
        Self {
            name: name.to_owned(),
            process,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// The next line that it prints; none when it has ended.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = timeout(DEADLINE, self.lines.next_line()).await;
        line.unwrap_or_else(|_| panic!("{} says nothing", self.name))
            .unwrap()
    }

    /// Waits until it ends well, and returns the lines that were not read yet.
    pub(crate) async fn succeed(mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Some(line) = self.line().await {
            rest.push(line);
        }
        let status = timeout(DEADLINE, self.process.wait()).await;
        let status = status
            .unwrap_or_else(|_| panic!("{} does not end", self.name))
            .unwrap();
        assert!(status.success(), "{}: {status}: {rest:#?}", self.name);
        rest
    }
}

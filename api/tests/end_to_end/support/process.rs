//! A `wharfinger` process that a test started, and that ends with it.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::graphql::Client;
use super::{soon, until};

/// Lines of the log that a failed test shows.
const SHOWN: usize = 60;

/// A running process.
pub(crate) struct Process {
    child: Child,
    /// `127.0.0.1:port`, as the log told it.
    pub(crate) address: String,
    log: watch::Receiver<Vec<String>>,
    what: String,
}

impl Process {
    /// Starts a process that listens on port 0, and waits until it says where: in the line with `announcement`.
    pub(crate) async fn start(mut command: Command, announcement: &str) -> Self {
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        read_on(child.stderr.take().unwrap(), Arc::clone(&sender));
        read_on(child.stdout.take().unwrap(), sender);
        let mut process = Self {
            child,
            address: String::new(),
            log,
            what,
        };
        process.address = process.announced(announcement).await;
        process
    }

    /// The address that follows an announcement in the log.
    pub(crate) async fn announced(&self, announcement: &str) -> String {
        let line = self.logged(announcement).await;
        let (_, after) = line.split_once(announcement).unwrap();
        let end = after.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
        after[..end.unwrap_or(after.len())].to_owned()
    }

    /// The first line of the log that has `text` in it, once it is there.
    pub(crate) async fn logged(&self, text: &str) -> String {
        let mut log = self.log.clone();
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let found = soon(&format!("{} logs {text:?}", self.what), log.wait_for(has)).await;
        let found =
            found.unwrap_or_else(|_| panic!("{} ended without logging {text:?}", self.what));
        let line = found.iter().find(|line| line.contains(text));
        line.unwrap().clone()
    }

    /// Everything that it has said so far, on standard output and standard error.
    pub(crate) fn said(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// The most memory that it has had resident, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn most_resident(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.unwrap().trim().strip_suffix(" kB").unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// kill -9: nothing of the process runs after this.
    pub(crate) fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A client of it with this token.
    pub(crate) fn client(&self, token: &str) -> Client {
        Client::new(&self.address, Some(token))
    }

    /// A client of it without a token.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(&self.address, None)
    }

    /// Asks it to stop, and waits until it has ended well.
    pub(crate) async fn stop(&mut self) {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "{}: {status}", self.what);
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    /// Waits until it ends.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.what);
        until(&what, async || self.child.try_wait().unwrap()).await
    }
}

/// Reads to the end, so that the process never blocks on its log.
fn read_on(from: impl Read + Send + 'static, log: Arc<watch::Sender<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            log.send_modify(|log| log.push(line));
        }
    });
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.borrow();
            eprintln!("--- the last lines of {}", self.what);
            for line in &log[log.len().saturating_sub(SHOWN)..] {
                eprintln!("{line}");
            }
        }
    }
}

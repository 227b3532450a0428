//! Resident memory when idle, and the time from the start of the process to `/readyz`, embedded; beside a server of
//! comparable standing, the registry.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::environment::{count, variable};
use crate::gateway::{Installation, free_port, ready};
use crate::stats::{Sample, load, milliseconds};

/// After which a process that was asked nothing counts as idle: beats and reconciliations have happened.
const IDLE: Duration = Duration::from_secs(35);

pub(crate) async fn run() -> Outcome {
    let rounds = count("ROUNDS", 10);
    let engine = variable("WHARFINGER_TEST_DOCKER_HOST_1")?;
    println!("load before: {}", load());
    let (mut first, mut again, mut registry) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let installation = Installation::new(&engine)?;
        for times in [&mut first, &mut again] {
            let start = Instant::now();
            let _gateway = installation.start(&["serve"])?;
            times.push(milliseconds(
                ready(installation.port, "/readyz").await? - start,
            ));
        }
        registry.push(start_registry().await?.0);
    }
    let (first, again, registry) = (
        Sample::new(first),
        Sample::new(again),
        Sample::new(registry),
    );
    println!("start → /readyz, new database      {first}");
    println!("start → /readyz, database is there {again}");
    println!("docker-registry, start → /v2/      {registry}");

    let installation = Installation::new(&engine)?;
    let gateway = installation.serve(&[]).await?;
    let (_, peer) = start_registry().await?;
    tokio::time::sleep(IDLE).await;
    let resident = memory(gateway.id(), "VmRSS")?;
    let beside = memory(peer.0.id(), "VmRSS")?;
    println!(
        "resident after {} s idle: {resident:.1} MB (of it anonymous {:.1} MB, at most so far {:.1} MB); docker-registry {beside:.1} MB",
        IDLE.as_secs(),
        memory(gateway.id(), "RssAnon")?,
        memory(gateway.id(), "VmHWM")?,
    );
    println!("load after:  {}", load());
    println!(
        "ratio to the registry: start {:.2}, memory {:.2}; start ≤ 300 ms {}, memory ≤ 40 MB {}",
        first.median() / registry.median(),
        resident / beside,
        if first.median() <= 300.0 {
            "holds"
        } else {
            "DOES NOT HOLD"
        },
        if resident <= 40.0 {
            "holds"
        } else {
            "DOES NOT HOLD"
        },
    );
    Ok(())
}

struct Registry(
    std::process::Child,
    #[expect(dead_code, reason = "kept until the process has ended")] tempfile::TempDir,
);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a registry; returns the milliseconds until it answered.
async fn start_registry() -> Outcome<(f64, Registry)> {
    let directory = tempfile::tempdir()?;
    let port = free_port()?;
    let settings = directory.path().join("config.yml");
    let data = directory.path().join("data");
    std::fs::write(
        &settings,
        format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp: {{ addr: 127.0.0.1:{port}, secret: bench }}\n",
            data.display()
        ),
    )?;
    let start = Instant::now();
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(&settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let registry = Registry(child, directory);
    let answered = ready(port, "/v2/").await?;
    Ok((milliseconds(answered - start), registry))
}

/// A line of the process's status, in megabytes (10^6 bytes).
pub(crate) fn memory(pid: u32, line: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .ok_or("no such line")?;
    let kibibytes: f64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

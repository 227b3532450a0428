//! A whole pull of a large image, through Wharfinger and by `docker pull`, by turns on one engine.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::environment::{count, variable};
use crate::gateway::Installation;
use crate::stats::{Sample, load, milliseconds};

pub(crate) async fn run() -> Outcome {
    let rounds = count("ROUNDS", 5);
    let engine = variable("WHARFINGER_TEST_DOCKER_HOST_1")?;
    let image = variable("WHARFINGER_BENCH_IMAGE")?;
    let installation = Installation::new(&engine)?;
    let _gateway = installation.serve(&[]).await?;
    let user = installation.user("ada")?;
    user.host_online().await?;

    let docker = |words: &[&str]| {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", &engine).args(words);
        timed(&mut command)
    };
    let wharfinger = |words: &[&str]| {
        let mut command = installation.command(words);
        command
            .env("WHARFINGER_TOKEN", &user.token)
            .env("WHARFINGER_URL", installation.url());
        timed(&mut command)
    };
    println!("load before: {}", load());
    // One each that does not count: the registry's files are in memory for all that follow.
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        // By turns first: whoever comes second finds the disk busier.
        let mut a = 0.0;
        let mut b = 0.0;
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                a = wharfinger(&["pull", &image])?;
                wharfinger(&["rm", &image])?;
            } else {
                b = docker(&["pull", &image])?;
                docker(&["rmi", &image])?;
            }
        }
        if round > 0 {
            println!(
                "round {round}: wharfinger pull {a:8.0} ms, docker pull {b:8.0} ms, ratio {:.3}",
                a / b
            );
            ours.push(a);
            plain.push(b);
        }
    }
    println!("load after:  {}", load());
    let ratios = Sample::new(ours.iter().zip(&plain).map(|(a, b)| a / b).collect());
    let (ours, plain) = (Sample::new(ours), Sample::new(plain));
    let ratio = ours.median() / plain.median();
    println!("wharfinger pull  {ours}");
    println!("docker pull      {plain}");
    println!(
        "ratio of the medians {ratio:.3} (of each round: {:.3} to {:.3}, median {:.3}); ≤ 1.03 {}",
        ratios.quantile(0.0),
        ratios.quantile(1.0),
        ratios.median(),
        if ratio <= 1.03 {
            "holds"
        } else {
            "DOES NOT HOLD"
        }
    );
    Ok(())
}

/// Runs a command to its good end, and returns how many milliseconds it took.
fn timed(command: &mut Command) -> Outcome<f64> {
    let start = Instant::now();
    let run = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    let took = milliseconds(start.elapsed());
    if !run.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&run.stderr)).into());
    }
    Ok(took)
}

//! From a mutation's request to the engine, on Redis and a PostgreSQL that syncs every commit.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::counts::{self, Counts};
use crate::environment::{connect, count, postgres_database, variable};
use crate::gateway::Installation;
use crate::stats::{Sample, load, milliseconds};
use crate::{Outcome, bullmq, one_row, tap};

/// Between two pulls, so that each finds an idle system.
const PAUSE: Duration = Duration::from_millis(20);

/// Pulls that warm connections and caches up, and are not counted.
const WARM_UP: usize = 20;

pub(crate) async fn run() -> Outcome {
    let pulls = count("PULLS", 500);
    println!("load before: {}", load());
    let one = measure(pulls, false).await?;
    let two = measure(pulls, true).await?;
    let rows = one_row::commits(pulls).await?;
    let peer = bullmq::measure(pulls, 1)?;
    println!("load after:  {}", load());
    println!("commit of one row            {rows}");
    match &peer {
        Some(peer) => {
            println!("BullMQ, add called → handler {}", peer.from_call);
            println!("BullMQ, add answered → same  {}", peer.from_answer);
        }
        None => println!("{}", bullmq::SKIPPED),
    }
    for (shape, sample) in [("gateway + worker", &two), ("one process", &one)] {
        let beside = peer.as_ref().map_or_else(String::new, |peer| {
            format!(
                "{:.2} × BullMQ's add → handler, ",
                sample.median() / peer.from_call.median()
            )
        });
        println!(
            "{shape}: request → engine is {beside}{:.2} × the commit of one row",
            sample.median() / rows.median(),
        );
    }
    Ok(())
}

async fn measure(pulls: usize, two_processes: bool) -> Outcome<Sample> {
    let shape = if two_processes {
        "gateway + worker"
    } else {
        "one process"
    };
    let engine = variable("WHARFINGER_TEST_DOCKER_HOST_1")?;
    let engine = PathBuf::from(engine.trim_start_matches("unix://"));
    let directory = tempfile::tempdir()?;
    let (socket, mut seen) = tap::open(directory.path(), engine)?;
    let database = postgres_database().await?;
    let mut installation = Installation::new(&format!("unix://{}", socket.display()))?;
    installation.fleet(&database)?;
    let words: &[&str] = if two_processes { &["--no-worker"] } else { &[] };
    let _gateway = installation.serve(words).await?;
    let _worker = two_processes
        .then(|| installation.start(&["worker"]))
        .transpose()?;
    let user = installation.user("ada")?;
    user.host_online().await?;
    let reference = variable("WHARFINGER_BENCH_IMAGE")?;

    let database = connect(&database).await?;
    counts::begin(&database).await?;
    let mut before = None;
    let (mut from_request, mut from_answer, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..WARM_UP + pulls {
        if number == WARM_UP {
            before = Some(Counts::now(&database).await?);
        }
        let asked = Instant::now();
        let (job, answered) = user.pull(&reference).await?;
        let at_engine = tokio::time::timeout(Duration::from_mins(1), seen.recv())
            .await?
            .ok_or("the tap closed")?;
        // Asking for the job's state is work too: only after the moment that counts.
        user.succeeded(&job).await?;
        if number >= WARM_UP {
            from_request.push(milliseconds(at_engine - asked));
            from_answer.push(signed_milliseconds(at_engine, answered));
            answers.push(milliseconds(answered - asked));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let after = Counts::now(&database).await?;
    let from_request = Sample::new(from_request);
    println!("{shape:<17} request → engine {from_request}");
    println!("{shape:<17} answer → engine  {}", Sample::new(from_answer));
    println!("{shape:<17} request → answer {}", Sample::new(answers));
    if let Some(before) = before {
        println!(
            "{shape:<17} a pull takes {} (this bench's polls included)",
            after.per_job(&before, pulls)
        );
    }
    Ok(from_request)
}

/// Negative where the engine was asked before the answer had been read.
fn signed_milliseconds(later: Instant, earlier: Instant) -> f64 {
    later
        .checked_duration_since(earlier)
        .map_or_else(|| -milliseconds(earlier - later), milliseconds)
}

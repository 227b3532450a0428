//! Jobs in a second, from the first request to the last settle, with an engine and a registry that answer at once.

use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::counts::{self, Counts};
use crate::environment::{connect, count, postgres_database};
use crate::gateway::{Client, Installation};
use crate::stats::{load, milliseconds};
use crate::{Outcome, bullmq, one_row, stand_in};

const USERS: usize = 8;

/// Requests under way at a time.
const CLIENTS: usize = 16;

/// Jobs that the worker runs at a time.
const CONCURRENCY: usize = 8;

/// Jobs that warm the process up, and are not counted.
const WARM_UP: usize = 50;

pub(crate) async fn run() -> Outcome {
    let jobs = count("JOBS", 1000);
    println!("load before: {}", load());
    embedded(jobs).await?;
    fleet(jobs).await?;
    match bullmq::measure(1, jobs)? {
        Some(peer) => println!(
            "BullMQ on the same Redis, {CONCURRENCY} at a time, nothing recorded: {:.0} jobs/s",
            peer.per_second
        ),
        None => println!("{}", bullmq::SKIPPED),
    }
    println!("load after:  {}", load());
    Ok(())
}

async fn embedded(jobs: usize) -> Outcome {
    let port = stand_in::start().await?;
    let mut installation = installation(port)?;
    installation.set("WHARFINGER_HOST_NAME", "embedded");
    let _gateway = installation.serve(&[]).await?;
    let rate = rate(&installation, port, jobs).await?;
    let directory = tempfile::tempdir()?;
    let url = format!(
        "sqlite:{}?mode=rwc",
        directory.path().join("one-row.db").display()
    );
    report("SQLite", rate, one_row::of(&url, 200).await?.median());
    Ok(())
}

async fn fleet(jobs: usize) -> Outcome {
    let port = stand_in::start().await?;
    let url = postgres_database().await?;
    let mut installation = installation(port)?;
    installation
        .fleet(&url)?
        .set("WHARFINGER_HOST_NAME", "fleet");
    let _gateway = installation.serve(&["--no-worker"]).await?;
    let _worker = installation.start(&["worker"])?;
    let database = connect(&url).await?;
    counts::begin(&database).await?;
    let before = Counts::now(&database).await?;
    let rate = rate(&installation, port, jobs).await?;
    let after = Counts::now(&database).await?;
    println!(
        "Redis + PostgreSQL: a job takes {}",
        after.per_job(&before, jobs + WARM_UP)
    );
    report(
        "Redis + PostgreSQL",
        rate,
        one_row::commits(200).await?.median(),
    );
    Ok(())
}

fn installation(port: u16) -> Outcome<Installation> {
    let mut installation = Installation::new(&format!("tcp://127.0.0.1:{port}"))?;
    installation.set("WHARFINGER_WORKER__CONCURRENCY", &CONCURRENCY.to_string());
    Ok(installation)
}

/// Each of the jobs wants an image of its own, so that nothing is joined or found.
async fn rate(installation: &Installation, port: u16, jobs: usize) -> Outcome<f64> {
    let users = (0..USERS)
        .map(|number| installation.user(&format!("user-{number}")))
        .collect::<Outcome<Vec<_>>>()?;
    users[0].host_online().await?;
    ask_for(&users, port, 0..WARM_UP).await?;
    until(&users[0], WARM_UP).await?;
    let start = Instant::now();
    ask_for(&users, port, WARM_UP..WARM_UP + jobs).await?;
    let accepted = start.elapsed();
    until(&users[0], WARM_UP + jobs).await?;
    println!(
        "  accepted after {:.0} ms, done after {:.0} ms",
        milliseconds(accepted),
        milliseconds(start.elapsed())
    );
    #[expect(clippy::cast_precision_loss, reason = "a count of jobs")]
    Ok(jobs as f64 / start.elapsed().as_secs_f64())
}

async fn ask_for(users: &[Client], port: u16, jobs: std::ops::Range<usize>) -> Outcome {
    stream::iter(jobs)
        .map(|number| async move {
            let reference = format!("127.0.0.1:{port}/bench/{number}:v");
            users[number % users.len()].pull(&reference).await
        })
        .buffer_unordered(CLIENTS)
        .try_for_each(|_| async { Ok(()) })
        .await
}

async fn until(user: &Client, jobs: usize) -> Outcome {
    let deadline = Instant::now() + Duration::from_mins(5);
    while user.count_succeeded().await? < jobs as u64 {
        if Instant::now() > deadline {
            return Err("the jobs do not end".into());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}

/// A job is four things made durable one after the other: acceptance, claim, what the engine had, settlement.
fn report(shape: &str, rate: f64, commit: f64) {
    let bare = 1000.0 / commit / 4.0;
    println!(
        "{shape}: {rate:.0} jobs/s; one connection that commits four rows for a job: {bare:.0} jobs/s; ratio {:.2}",
        rate / bare
    );
}

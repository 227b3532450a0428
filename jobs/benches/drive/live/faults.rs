//! What a crowd of subscribers has to come through: the end of its pulls, with Redis and without, and a gateway that restarts.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use serde_json::json;
use wharfinger_jobs::live::events::Events;

use super::crowd::Crowd;
use super::{RATE, Size, Wharf, holds};
use crate::Outcome;
use crate::environment::variable;
use crate::gateway::{Client, Installation, Process};
use crate::stats::{Sample, milliseconds};

/// Time in which the storm's subscribers come back.
const STORM: Duration = Duration::from_secs(2);

/// Every pull succeeds, half of them while Redis is away, and everybody is to see it.
pub(super) async fn end(
    wharf: &Wharf,
    database: &DatabaseConnection,
    events: &Events,
    crowd: &Crowd,
    size: &Size,
) -> Outcome {
    let (with, without) = wharf.pulls.split_at(size.pulls / 2);
    // Subscriber n watches pull n modulo their number.
    let first = (0..size.subscribers)
        .filter(|number| number % size.pulls < with.len())
        .count();
    let began = Instant::now();
    for pull in with {
        pull.succeed(database, events, 1_000_000).await?;
    }
    seen(crowd, "the pulls ended", first, began).await?;
    redis("stop")?;
    let began = Instant::now();
    for pull in without {
        pull.succeed(database, events, 1_000_000).await?;
    }
    redis("start")?;
    seen(
        crowd,
        "Redis was stopped and started again",
        size.subscribers,
        began,
    )
    .await?;
    println!(
        "gateway {} sockets were lost by it ({})",
        crowd.stats.lost.load(Relaxed),
        holds(crowd.stats.lost.load(Relaxed) == 0)
    );
    Ok(())
}

/// Waits until so many subscribers have come to the end of their pull.
async fn seen(crowd: &Crowd, when: &str, goal: usize, began: Instant) -> Outcome {
    crowd
        .until("every subscription is complete", |stats| {
            stats.completed.load(Relaxed) + stats.lost.load(Relaxed) >= goal
        })
        .await?;
    println!(
        "gateway {when}: final state seen by {} of {goal} (all of them {}), completed {}, after {:.1} s",
        crowd.stats.succeeded.load(Relaxed),
        holds(crowd.stats.succeeded.load(Relaxed) >= goal),
        crowd.stats.completed.load(Relaxed),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Stops the Redis of this bench, or starts it again where it was.
fn redis(what: &str) -> Outcome {
    let directory = format!("{}/redis", variable("WHARFINGER_TEST_DIR")?);
    let mut command = Command::new("jobs/dev/servers.sh");
    let status = command.args([what, "redis", &directory]).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("could not {what} Redis: {status}").into())
    }
}

/// The gateway is killed and started again; half of the subscribers come back within two seconds.
pub(super) async fn storm(
    installation: &Installation,
    gateway: Process,
    database: &DatabaseConnection,
    events: &Events,
    size: &Size,
) -> Outcome {
    let subscribers = size.subscribers / 2;
    let wharf = Wharf::open(installation, database, size.pulls).await?;
    let address = SocketAddr::from(([127, 0, 0, 1], installation.port));
    let crowd = Crowd::new(address, size.pulls)?;
    let seats = (0..subscribers).map(|number| wharf.seat(number));
    crowd.join(seats.collect(), Some(STORM)).await?;
    let calm = Sample::new(queries(&wharf.users[0], Duration::from_secs(3)).await?);
    drop(gateway);
    let restarted = Instant::now();
    let _gateway = installation.serve(&["--no-worker"]).await?;
    println!(
        "storm   ready {:.2} s after it was killed",
        restarted.elapsed().as_secs_f64()
    );
    // Pulls go on meanwhile.
    let going = async {
        let mut sequence = 10;
        loop {
            sequence += 1;
            for pull in &wharf.pulls {
                pull.progress(events, sequence);
                tokio::time::sleep(Duration::from_secs(1) / (RATE * 100)).await;
            }
        }
    };
    let (live, busy) = tokio::select! {
        () = going => unreachable!("it goes on for ever"),
        both = async { tokio::join!(crowd.storm(), queries(&wharf.users[0], Duration::from_secs(3))) } => both,
    };
    let (live, busy) = (live?, Sample::new(busy?));
    println!(
        "storm   {subscribers} come back within {} s: all live after {:.2} s (≤ 10 s {}); {} lost",
        STORM.as_secs(),
        live.as_secs_f64(),
        holds(live <= Duration::from_secs(10)),
        crowd.stats.lost.load(Relaxed)
    );
    println!("storm   a query before  {calm}");
    println!(
        "storm   a query during  {busy}, {:.1} × at the median",
        busy.median() / calm.median()
    );
    Ok(())
}

/// Asks for images again and again for a while, one request at a time.
async fn queries(user: &Client, time: Duration) -> Outcome<Vec<f64>> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < time {
        let asked = Instant::now();
        user.ask(
            "{ balance { available } images(first: 20) { nodes { id } } }",
            json!({}),
        )
        .await?;
        times.push(milliseconds(asked.elapsed()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(times)
}

//! Periodic work for the whole fleet, done by one process at a time.
//!
//! Every process runs [`run`]. One of them holds the [`lease`] and does the work in four loops of its own: it takes jobs
//! over from vanished workers, moves pulls off hosts and gives up lost ones, goes on with sweeps, and forgets what is old.
//! The others look at the lease when it should have been renewed. Each loop works in batches of short transactions, at
//! most one account in each, and looks between two of them whether the lease is still held. A process that lost the lease
//! in the middle of one does no harm: whatever is done twice changes nothing.

pub mod clock_skew;
mod forget;
mod lost_hosts;
pub(crate) mod relocation;
pub(crate) mod vanished_workers;
pub mod write_probe;

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::fleet_lease::{Lease, Rounds};
use crate::infra::tasks::{NeededBy, Task};
use crate::maintenance::relocation::Relocator;
use crate::services::Services;
use crate::sweep_images;

/// Time between two looks for work that others wait for.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two comparisons of the clocks.
const CLOCKS: u64 = 60;

/// Time between two deletions of old rows.
const FORGET_PERIOD: Duration = Duration::from_mins(10);

/// How long a pass, or a transaction within one, may take before the loop counts as standing still.
const STILL: Duration = Duration::from_mins(1);

/// Keeps house until `stop`, whenever it is this process's turn.
pub async fn run(services: Services, stop: CancellationToken) {
    let looping = || {
        services
            .tasks
            .looping("housekeeping", NeededBy::None, STILL)
    };
    let lease = Lease::new();
    let keeping = async {
        // Each process's clock is its own.
        tokio::join!(
            look_at_database(&services, looping()),
            take_turns(&services, &lease, looping())
        );
    };
    let all = services.tasks.task("housekeeping", NeededBy::None);
    all.until(stop, keeping).await;
    lease.give_up(&services).await;
}

async fn look_at_database(services: &Services, task: Task) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for tick in 0_u64.. {
        task.waiting(ticks.tick()).await;
        // Whether the database answers is known from asking it: see `Db::outage_within`.
        if let Err(error) = services.db.ping().await {
            tracing::debug!(%error, "the database does not answer");
        }
        if tick % CLOCKS == 0 {
            clock_skew::check(services).await;
        }
    }
}

async fn take_turns(services: &Services, lease: &Lease, task: Task) {
    loop {
        match lease.take(services).await {
            Ok(None) => {
                let lost = CancellationToken::new();
                let rounds = |period| Rounds::new(period, &task, &lost);
                tracing::debug!("this process keeps house");
                tokio::join!(
                    async {
                        lease.keep(services, &task).await;
                        lost.cancel();
                    },
                    Box::pin(take_over(services, rounds(TICK))),
                    Box::pin(look_after_hosts(services, rounds(TICK))),
                    Box::pin(sweep(services, rounds(TICK))),
                    Box::pin(forget(services, rounds(FORGET_PERIOD))),
                );
                tracing::debug!("another process keeps house");
            }
            Ok(Some(look_again)) => task.waiting(tokio::time::sleep(look_again)).await,
            Err(error) => {
                tracing::debug!(%error, "could not look at the lease of the housekeeping");
                task.passed();
                tokio::time::sleep(TICK).await;
            }
        }
    }
}

/// Vanished workers.
async fn take_over(services: &Services, mut rounds: Rounds) {
    while rounds.next().await {
        if let Err(error) = vanished_workers::take_over(services, &rounds).await {
            tracing::warn!(%error, "could not look for vanished workers");
        }
    }
}

/// Hosts that pulls have to leave, and lost ones.
async fn look_after_hosts(services: &Services, mut rounds: Rounds) {
    let mut relocator = Relocator::default();
    while rounds.next().await {
        // Before what is on lost hosts is given up.
        if let Err(error) = relocator.pass(services, &rounds).await {
            tracing::warn!(%error, "could not look for hosts that pulls have to leave");
        }
        let silent = relocator.silent(services);
        if let Err(error) = lost_hosts::give_up(services, silent, &rounds).await {
            tracing::warn!(%error, "could not look for lost hosts");
        }
    }
}

/// Sweeps that were asked for.
async fn sweep(services: &Services, mut rounds: Rounds) {
    while rounds.next().await {
        if let Err(error) = sweep_images::go_on(services, &rounds).await {
            tracing::warn!(%error, "could not go on with a clean-up: trying again");
        }
    }
}

async fn forget(services: &Services, mut rounds: Rounds) {
    while rounds.next().await {
        forget::what_is_old(services, &rounds).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::services::test_services::on_sqlite;

    /// Housekeeping that waits for its next round is at work, however long the round is.
    #[tokio::test]
    async fn housekeeping_at_work_is_not_told_as_standing_still() {
        let folder = tempfile::tempdir().unwrap();
        let services = on_sqlite(&folder).await;
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(services.clone(), stop.clone()));
        let resting = async {
            loop {
                let later = Instant::now() + 2 * STILL;
                let reports = services.tasks.reports_at(later);
                if reports.len() == 1 && reports[0].trouble.is_none() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let rested = tokio::time::timeout(Duration::from_secs(30), resting).await;
        stop.cancel();
        running.await.unwrap();
        rested.expect("there is a moment in which every loop of it waits");
    }
}

//! Scheduled sweeps: each once in the whole fleet, and a missed one made up for.
//!
//! Every gateway wakes at every instant of the schedule, and once when it starts. The gateway that inserts the instant's row runs
//! the sweep; the others wait until it is over, and take it over if its runner vanished. A second run of a sweep adds no
//! removals: it finds the live ones.

use std::time::Duration;

use apalis_cron::{CronScheduler, Tick};
use futures::StreamExt as _;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{Timestamp, sweep_run};

use super::holdings::{PAGE, Part, chosen, enter, sweep_page};
use super::run_rows::{Lease, Take, begin, change, find, is_known, lease, rename, take_over};
use super::schedule::{ByClock, SweepSchedule};
use crate::accounts::audit::Actor;
use crate::error::ServiceError;
use crate::infra::tasks::NeededBy;
use crate::services::Services;

/// Time until the next try after the database failed, and the next look at a run of another gateway.
const PAUSE: Duration = Duration::from_secs(30);

/// Time for which runs are kept; the audit log has them for ever.
const KEPT: Duration = Duration::from_hours(24 * 400);

/// The settings of scheduled sweeps.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The instants.
    pub schedule: SweepSchedule,
    /// The longest delay after which a missed sweep is still run.
    pub catch_up: Duration,
}

/// The result of a look at the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: the newest instant's sweep is over, too late, or was never meant.
    Nothing,
    /// Another gateway runs it, with a lease until this instant of the database's clock.
    Elsewhere(Timestamp),
    /// This call did it, and asked for so many removals.
    Swept(usize),
}

/// Runs what is due until `stop`.
pub async fn keep(services: Services, schedule: Schedule, stop: CancellationToken) {
    let runner = Uuid::now_v7();
    let ticks = || {
        let (schedule, clock) = (schedule.schedule.clone(), services.clock.clone());
        CronScheduler::new(ByClock { schedule, clock }).into_stream()
    };
    let keeping = async {
        // A sweep that was missed while no gateway ran.
        see_to(&services, &schedule, runner, services.clock.now()).await;
        let mut coming = ticks();
        loop {
            let at = match coming.next().await {
                Some(Ok(tick)) => instant(tick),
                // The next instant came while the last one's sweep went on. Asked again, it would say so for ever.
                Some(Err(apalis_cron::Error::OutOfRange { .. })) => {
                    coming = ticks();
                    services.clock.now()
                }
                None => std::future::pending().await,
            };
            // The timer may be early by the clock, and then the instant has not come yet.
            let at = at.max(services.clock.now());
            see_to(&services, &schedule, runner, at).await;
        }
    };
    let task = services.tasks.task("sweeps", NeededBy::None);
    task.until(stop, keeping).await;
}

fn instant(tick: Tick) -> Timestamp {
    let seconds = Duration::from_secs(tick.get_timestamp());
    Timestamp::from_micros(0).after(seconds)
}

/// Returns when the sweep that was due at an instant is over, run by this gateway or by another.
async fn see_to(services: &Services, schedule: &Schedule, runner: Uuid, at: Timestamp) {
    let mut at = at;
    loop {
        let pause = match due(services, schedule, runner, at).await {
            Ok(Due::Nothing) => return,
            Ok(Due::Swept(jobs)) => {
                tracing::info!(jobs, "the scheduled clean-up is done");
                return;
            }
            Ok(Due::Elsewhere(_)) => PAUSE,
            Err(error) => {
                tracing::warn!(%error, "the scheduled clean-up failed: trying again");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
        at = at.max(services.clock.now());
    }
}

/// Runs the sweep of the newest instant of the schedule that is not after `at`, unless it is over, too late, or another
/// runner is at it. A schedule that was never seen before only begins: its last instant was not missed.
pub async fn due(
    services: &Services,
    schedule: &Schedule,
    runner: Uuid,
    at: Timestamp,
) -> Result<Due, ServiceError> {
    let Some(instant) = schedule.schedule.latest(at) else {
        return Ok(Due::Nothing);
    };
    let now = services.clock.now();
    let lease = lease(services).await?;
    let run = loop {
        if let Some(run) = find(services, instant).await? {
            match take_over(services, &run, schedule.catch_up, runner, lease).await? {
                Take::Taken => break run.id,
                Take::Over => {
                    rename(services, run.id, &schedule.schedule).await?;
                    return Ok(Due::Nothing);
                }
                Take::Elsewhere(until) => return Ok(Due::Elsewhere(until)),
            }
        }
        let known = is_known(services, &schedule.schedule).await?;
        if known && now.since(instant) > schedule.catch_up {
            tracing::warn!("the last scheduled clean-up was missed, and it is too late for it");
            return Ok(Due::Nothing);
        }
        let runner = known.then_some((runner, lease));
        match begin(services, &schedule.schedule, instant, runner).await? {
            Some(id) if known => break id,
            Some(_) => return Ok(Due::Nothing),
            // Another gateway was faster: look at its run.
            None => {}
        }
    };
    sweep(services, run, runner).await
}

/// Sweeps every host, as long as the run is this runner's.
async fn sweep(services: &Services, run: Uuid, runner: Uuid) -> Result<Due, ServiceError> {
    let hosts = chosen(services, None).await?;
    enter(services, &Actor::Program("sweep.schedule"), &hosts).await?;
    let mut jobs = 0;
    for host in hosts {
        let mut last = None;
        loop {
            let part = Part {
                host_id: host.id,
                after: last,
                before: None,
                most: PAGE,
            };
            let page = sweep_page(services, part, None).await?;
            jobs += page.jobs.len();
            last = page.last;
            if last.is_none() {
                break;
            }
            let Lease { until, .. } = lease(services).await?;
            let renewed = sweep_run::ActiveModel {
                lease_until: Set(Some(until)),
                ..Default::default()
            };
            if !change(services, run, runner, renewed).await? {
                return Ok(Due::Elsewhere(until));
            }
        }
    }
    let over = sweep_run::ActiveModel {
        lease_until: Set(None),
        finished_at: Set(Some(services.clock.now())),
        jobs: Set(i64::try_from(jobs).unwrap_or(i64::MAX)),
        ..Default::default()
    };
    change(services, run, runner, over).await?;
    sweep_run::Entity::delete_many()
        .filter(sweep_run::Column::ScheduledAt.lt(services.clock.now().before(KEPT)))
        .filter(sweep_run::Column::Id.ne(run))
        .exec(services.db.write())
        .await?;
    Ok(Due::Swept(jobs))
}

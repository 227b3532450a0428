//! Scheduled sweeps: each once in the whole fleet, and a missed one made up for.
//!
//! Every gateway wakes at every instant of the schedule, and once when it starts. The gateway that inserts the instant's row
//! (`sweep_runs`), with a sweep for each host, runs them; if it vanishes, the maintenance goes on with them, as with those
//! that an administrator asked for.

use std::time::Duration;

use apalis_cron::{CronScheduler, Tick};
use futures::StreamExt as _;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{Timestamp, host_sweep, sweep_run};

use super::holdings::{begin, chosen, forget, next_removals, reserve_again, save};
use super::schedule::{ByClock, SweepSchedule};
use crate::accounts::audit::Actor;
use crate::error::ServiceError;
use crate::infra::db::{Transaction, in_transaction};
use crate::infra::tasks::NeededBy;
use crate::services::Services;

/// Time until the next try after the database failed.
const PAUSE: Duration = Duration::from_secs(30);

/// Holdings that are read at a time.
const PAGE: u64 = 100;

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
    /// Nothing: the newest instant's sweep has begun, is too late, or was never meant.
    Nothing,
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

/// Runs the sweep that is due at an instant. Returns when it is over, or is another gateway's.
async fn see_to(services: &Services, schedule: &Schedule, runner: Uuid, mut at: Timestamp) {
    loop {
        match due(services, schedule, runner, at).await {
            Ok(Due::Nothing) => return,
            Ok(Due::Swept(jobs)) => {
                tracing::info!(jobs, "the scheduled clean-up is done");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the scheduled clean-up failed: it is tried again, or the maintenance goes on with it");
            }
        }
        tokio::time::sleep(PAUSE).await;
        at = at.max(services.clock.now());
    }
}

/// Runs the sweep of the newest instant of the schedule that is not after `at`, unless it has begun or is too late. A
/// schedule that was never seen before only begins: its last instant was not missed.
pub async fn due(
    services: &Services,
    schedule: &Schedule,
    runner: Uuid,
    at: Timestamp,
) -> Result<Due, ServiceError> {
    let Some(instant) = schedule.schedule.latest(at) else {
        return Ok(Due::Nothing);
    };
    // The row of an instant is unique: the gateway that was slower finds it when its transaction runs again.
    let begun = in_transaction!(services.db, |tx| {
        begin_run(&tx, services, schedule, instant, runner).await
    })?;
    match begun {
        Some((run, sweeps)) => sweep(services, run, sweeps).await.map(Due::Swept),
        None => Ok(Due::Nothing),
    }
}

/// Makes the row of an instant, with the sweeps of every host; none if there is nothing to run. The instant of a new schedule
/// is only noted.
async fn begin_run(
    tx: &Transaction,
    services: &Services,
    schedule: &Schedule,
    instant: Timestamp,
    runner: Uuid,
) -> Result<Option<(Uuid, Vec<host_sweep::Model>)>, ServiceError> {
    let text = schedule.schedule.text();
    let earlier = sweep_run::Entity::find()
        .filter(sweep_run::Column::ScheduledAt.eq(instant))
        .one(tx)
        .await?;
    if let Some(earlier) = earlier {
        // It counts as one of this schedule: a schedule that was edited is not a new one at its next instant.
        sweep_run::Entity::update_many()
            .set(sweep_run::ActiveModel {
                schedule: Set(text.to_owned()),
                ..Default::default()
            })
            .filter(sweep_run::Column::Id.eq(earlier.id))
            .filter(sweep_run::Column::Schedule.ne(text))
            .exec(tx)
            .await?;
        let now = services.clock.now();
        // A gateway of the version before had a lease in place of the rows of hosts, and is gone.
        let left = earlier.finished_at.is_none() && earlier.lease_until.is_some_and(|it| it < now);
        if !left || now.since(instant) > schedule.catch_up {
            return Ok(None);
        }
        let taken_over = sweep_run::Entity::update_many()
            .col_expr(sweep_run::Column::LeaseUntil, Expr::value(None::<i64>))
            .filter(sweep_run::Column::Id.eq(earlier.id))
            .filter(sweep_run::Column::LeaseUntil.eq(earlier.lease_until))
            .exec(tx)
            .await?;
        if taken_over.rows_affected == 0 {
            return Ok(None);
        }
        return begin_hosts(tx, services, earlier.id).await;
    }
    let seen = sweep_run::Entity::find()
        .filter(sweep_run::Column::Schedule.eq(text))
        .count(tx)
        .await?;
    let (known, now) = (seen > 0, services.clock.now());
    if known && now.since(instant) > schedule.catch_up {
        tracing::warn!("the last scheduled clean-up was missed, and it is too late for it");
        return Ok(None);
    }
    let run = Uuid::now_v7();
    sweep_run::Entity::insert(sweep_run::ActiveModel {
        id: Set(run),
        scheduled_at: Set(instant),
        schedule: Set(text.to_owned()),
        runner: Set(known.then_some(runner)),
        lease_until: Set(None),
        started_at: Set(now),
        finished_at: Set((!known).then_some(now)),
        jobs: Set(0),
    })
    .exec_without_returning(tx)
    .await?;
    if !known {
        return Ok(None);
    }
    begin_hosts(tx, services, run).await
}

/// Makes the sweeps of every host.
async fn begin_hosts(
    tx: &Transaction,
    services: &Services,
    run: Uuid,
) -> Result<Option<(Uuid, Vec<host_sweep::Model>)>, ServiceError> {
    let hosts = chosen(services, None).await?;
    let actor = Actor::Program("sweep.schedule");
    let sweeps = begin(tx, services, &actor, &hosts, None).await?;
    Ok(Some((run, sweeps)))
}

/// Sweeps every host. Returns how many removals there are.
async fn sweep(
    services: &Services,
    run: Uuid,
    sweeps: Vec<host_sweep::Model>,
) -> Result<usize, ServiceError> {
    let mut jobs = 0;
    for mut sweep in sweeps {
        // Those before it took longer than it was reserved, and the maintenance has it.
        if !reserve_again(services, &sweep).await? {
            continue;
        }
        while let Some(removals) = next_removals(services, &mut sweep, PAGE).await? {
            jobs += removals.len();
            save(services, &sweep, true).await?;
        }
        forget(services, &sweep).await?;
    }
    sweep_run::Entity::update_many()
        .set(sweep_run::ActiveModel {
            finished_at: Set(Some(services.clock.now())),
            jobs: Set(i64::try_from(jobs).unwrap_or(i64::MAX)),
            ..Default::default()
        })
        .filter(sweep_run::Column::Id.eq(run))
        .exec(services.db.write())
        .await?;
    sweep_run::Entity::delete_many()
        .filter(sweep_run::Column::ScheduledAt.lt(services.clock.now().before(KEPT)))
        .filter(sweep_run::Column::Id.ne(run))
        .exec(services.db.write())
        .await?;
    Ok(jobs)
}

//! The rows of scheduled sweeps (`sweep_runs`): one for each instant, with its runner and the runner's lease.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, SqlErr,
};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, sweep_run};

use super::schedule::SweepSchedule;
use crate::services::Services;

/// Length of a runner's lease. It renews it after every page of holdings.
const LEASE: Duration = Duration::from_mins(1);

/// A runner's lease, by the database's clock.
#[derive(Clone, Copy)]
pub(super) struct Lease {
    from: Timestamp,
    pub(super) until: Timestamp,
}

/// A lease that begins now.
pub(super) async fn lease(services: &Services) -> Result<Lease, DbErr> {
    let from = services.db.now(&services.clock).await?;
    Ok(Lease {
        from,
        until: from.after(LEASE),
    })
}

/// The run of an instant.
pub(super) async fn find(
    services: &Services,
    instant: Timestamp,
) -> Result<Option<sweep_run::Model>, DbErr> {
    sweep_run::Entity::find()
        .filter(sweep_run::Column::ScheduledAt.eq(instant))
        .one(services.db.write())
        .await
}

/// Lets a run that is over count as one of this schedule: a schedule that was edited is not a new one at its next instant.
pub(super) async fn rename(
    services: &Services,
    run: Uuid,
    schedule: &SweepSchedule,
) -> Result<(), DbErr> {
    sweep_run::Entity::update_many()
        .set(sweep_run::ActiveModel {
            schedule: Set(schedule.text().to_owned()),
            ..Default::default()
        })
        .filter(sweep_run::Column::Id.eq(run))
        .filter(sweep_run::Column::Schedule.ne(schedule.text()))
        .exec(services.db.write())
        .await?;
    Ok(())
}

/// Whether any run of this schedule was recorded.
pub(super) async fn is_known(services: &Services, schedule: &SweepSchedule) -> Result<bool, DbErr> {
    let seen = sweep_run::Entity::find()
        .filter(sweep_run::Column::Schedule.eq(schedule.text()))
        .count(services.db.write())
        .await?;
    Ok(seen > 0)
}

/// Makes the row of an instant; none when there is one. Without a runner it is only noted.
pub(super) async fn begin(
    services: &Services,
    schedule: &SweepSchedule,
    instant: Timestamp,
    runner: Option<(Uuid, Lease)>,
) -> Result<Option<Uuid>, DbErr> {
    let (id, now) = (Uuid::now_v7(), services.clock.now());
    let inserted = sweep_run::Entity::insert(sweep_run::ActiveModel {
        id: Set(id),
        scheduled_at: Set(instant),
        schedule: Set(schedule.text().to_owned()),
        runner: Set(runner.map(|(runner, _)| runner)),
        lease_until: Set(runner.map(|(_, lease)| lease.until)),
        started_at: Set(now),
        finished_at: Set(runner.is_none().then_some(now)),
        jobs: Set(0),
    })
    .exec_without_returning(services.db.write())
    .await;
    match inserted {
        Ok(_) => Ok(Some(id)),
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The result of [`take_over`].
pub(super) enum Take {
    /// The run is this runner's now.
    Taken,
    /// The run is over, or too late to go on with.
    Over,
    /// Another runner has it, with a lease until this instant of the database's clock.
    Elsewhere(Timestamp),
}

/// Takes a run over from a runner that vanished, unless its instant is longer ago than `catch_up`.
pub(super) async fn take_over(
    services: &Services,
    run: &sweep_run::Model,
    catch_up: Duration,
    runner: Uuid,
    lease: Lease,
) -> Result<Take, DbErr> {
    let Some(until) = run.lease_until.filter(|_| run.finished_at.is_none()) else {
        return Ok(Take::Over);
    };
    if until > lease.from {
        return Ok(Take::Elsewhere(until));
    }
    if services.clock.now().since(run.scheduled_at) > catch_up {
        return Ok(Take::Over);
    }
    let taken = sweep_run::Entity::update_many()
        .set(sweep_run::ActiveModel {
            runner: Set(Some(runner)),
            lease_until: Set(Some(lease.until)),
            ..Default::default()
        })
        .filter(sweep_run::Column::Id.eq(run.id))
        .filter(sweep_run::Column::LeaseUntil.eq(until))
        .filter(sweep_run::Column::FinishedAt.is_null())
        .exec(services.db.write())
        .await?;
    Ok(if taken.rows_affected == 1 {
        tracing::warn!("took a scheduled clean-up over from a process that vanished");
        Take::Taken
    } else {
        Take::Elsewhere(lease.until)
    })
}

/// Changes a run. Returns false if another gateway has it by now.
pub(super) async fn change(
    services: &Services,
    run: Uuid,
    runner: Uuid,
    changes: sweep_run::ActiveModel,
) -> Result<bool, DbErr> {
    let done = sweep_run::Entity::update_many()
        .set(changes)
        .filter(sweep_run::Column::Id.eq(run))
        .filter(sweep_run::Column::Runner.eq(runner))
        .filter(sweep_run::Column::FinishedAt.is_null())
        .exec(services.db.write())
        .await?;
    Ok(done.rows_affected == 1)
}

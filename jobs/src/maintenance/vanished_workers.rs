//! Jobs of workers that vanished: they are taken away and go on elsewhere.

use std::time::Duration;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, ExprTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{JobErrorCode, JobState, Timestamp, job};

use crate::error::{JobFailure, ServiceError};
use crate::fleet_lease::Rounds;
use crate::infra::db::{self, Transaction, for_update, in_transaction, lock_now};
use crate::infra::{metrics, trace};
use crate::job::transition::{self, Outcome};
use crate::services::Services;

/// Takes the jobs away from workers whose lease ran out: each goes on elsewhere, or is dead after its last attempt.
pub(crate) async fn take_over(services: &Services, rounds: &Rounds) -> Result<(), ServiceError> {
    let now = || services.database_time(Duration::ZERO);
    let abandoned: Vec<(Uuid, i32, Option<String>, Timestamp)> = job::Entity::find()
        .select_only()
        .columns([
            job::Column::Id,
            job::Column::Attempt,
            job::Column::Traceparent,
        ])
        .expr(now())
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::State.eq(JobState::Running))
        .filter(job::Column::LeaseUntil.into_expr().lt(now()))
        .limit(100)
        .into_tuple()
        .all(services.db.read())
        .await?;
    for (job_id, attempt, traceparent, now) in abandoned {
        if !rounds.goes_on() {
            break;
        }
        match take_over_one(services, job_id, &Gone::RanOut(now)).await {
            Ok(true) => services.wake.all(),
            Ok(false) => {}
            Err(ServiceError::Database(error)) if db::is_locked(&error) => {
                tracing::debug!(job.id = %job_id, "another transaction has a job that is to be taken over: looking again");
            }
            // One that cannot be taken over is not to keep the others waiting.
            Err(error) => {
                let trace_id = trace::id_of(traceparent.as_deref(), job_id);
                tracing::error!(job.id = %job_id, job.attempt = attempt, trace_id, %error, "could not take a job over");
            }
        }
    }
    Ok(())
}

/// Takes every job away from a worker whose process is known to be gone. Returns how many.
pub(crate) async fn free_leases_of(
    services: &Services,
    worker: &str,
) -> Result<usize, ServiceError> {
    let had: Vec<Uuid> = job::Entity::find()
        .select_only()
        .column(job::Column::Id)
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::State.eq(JobState::Running))
        .filter(job::Column::Worker.eq(worker))
        .into_tuple()
        .all(services.db.read())
        .await?;
    let mut freed = 0;
    let gone = Gone::Known(worker);
    for job_id in had {
        freed += usize::from(take_over_one(services, job_id, &gone).await?);
    }
    Ok(freed)
}

/// How a worker is known to be gone.
enum Gone<'a> {
    /// Its lease ran out, as seen at this instant of the database's clock.
    RanOut(Timestamp),
    /// The process of the worker with this name is gone.
    Known(&'a str),
}

impl Gone<'_> {
    /// How long the database was away since the worker renewed its lease of the job, as no renewal is stored then. None
    /// where the worker is not gone: outages are not counted against it.
    fn outage(&self, services: &Services, job: &job::Model) -> Option<Duration> {
        let (late, gone) = match self {
            Self::RanOut(now) => (now.since(job.lease_until?), false),
            Self::Known(worker) => (Duration::ZERO, job.worker.as_deref() == Some(*worker)),
        };
        let lease = services.settings.worker.lease;
        let outage = services.db.outage_within(lease.saturating_add(late));
        (job.state == JobState::Running && (gone || late > outage)).then_some(outage)
    }

    /// Waits for another transaction only where no later round does this again.
    async fn lock(&self, tx: &Transaction, job_id: Uuid) -> Result<Option<job::Model>, DbErr> {
        let select = job::Entity::find_by_id(job_id);
        match self {
            Self::RanOut(_) => lock_now(tx, select).await,
            Self::Known(_) => for_update(tx, select).one(tx).await,
        }
    }
}

async fn take_over_one(
    services: &Services,
    job_id: Uuid,
    gone: &Gone<'_>,
) -> Result<bool, ServiceError> {
    let ended = in_transaction!(services.db, |tx| {
        let job = gone.lock(&tx, job_id).await?;
        let Some((job, outage)) =
            job.and_then(|job| gone.outage(services, &job).map(|outage| (job, outage)))
        else {
            return Ok::<_, ServiceError>(None);
        };
        let failed = Outcome::Failed(lost(&job, outage));
        Ok(Some(transition::finish(&tx, services, job, failed).await?))
    })?;
    let Some((job, balance)) = ended else {
        return Ok(false);
    };
    let trace_id = trace::id_of(job.traceparent.as_deref(), job.id);
    tracing::warn!(job.id = %job.id, job.attempt, trace_id, state = ?job.state, "took a job over from a vanished worker");
    metrics::taken_over(&job);
    services.announce(&job, balance);
    Ok(true)
}

/// An attempt whose lease ran out in an outage of the database does not count: its worker could not renew it.
fn lost(job: &job::Model, outage: Duration) -> JobFailure {
    let worker = job.worker.as_deref().unwrap_or_default();
    if outage > Duration::ZERO {
        let message = format!("worker {worker} could not renew its lease: the database was away");
        return JobFailure::retry_free(JobErrorCode::WorkerLost, message, Duration::ZERO);
    }
    let message = format!("worker {worker} vanished in the middle of the attempt");
    JobFailure::retry(JobErrorCode::WorkerLost, message)
}

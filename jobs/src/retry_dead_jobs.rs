//! `retryDeadJobs`: redrives dead letters.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, JobErrorCode, JobState, job};

use crate::accounts::still_administrator;
use crate::audit::{self, Actor};
use crate::credits::{Account, Balance};
use crate::db::{for_update, in_transaction};
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::retry_job::{Limits, accept_again};
use crate::services::Services;
use crate::set_queue_paused::of_queue;

/// Dead letters that one call runs again, and that it reports as refused, at most.
const MOST: usize = 1000;

/// How many are read at a time.
const PAGE: u64 = 100;

/// Which dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadJobs {
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only those that died of this.
    pub error_code: Option<JobErrorCode>,
    /// At most so many.
    pub limit: i32,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redriven {
    /// Those that wait again, oldest first.
    pub jobs: Vec<job::Model>,
    /// Those that could not be accepted again, and why. They stay DEAD.
    pub refused: Vec<(Uuid, UserError)>,
}

/// Runs dead letters again, in the order in which the jobs were first accepted. Each is an acceptance of its own, with its own
/// transaction, hold and audit entry: one whose user cannot afford it is reported, and the others go on. Limits on what
/// users may ask for do not apply, as it is not they who ask. Whoever is refused does not use up `limit`, but the work is
/// bounded: it ends after as many refusals. Repeated, it does what is left. Discarded jobs are passed by.
pub async fn retry_dead_jobs(
    services: &Services,
    actor: &Actor,
    which: &DeadJobs,
) -> Result<Redriven, ServiceError> {
    let Ok(limit @ 1..=MOST) = usize::try_from(which.limit) else {
        let message = format!("`limit` is {}: it can be 1 to {MOST}", which.limit);
        return Err(UserError::new(UserErrorCode::InvalidInput, "limit", message).into());
    };
    let host_id = match &which.queue {
        Some(queue) => Some(of_queue(services.db.read(), queue).await?.id),
        None => None,
    };
    let mut redriven = Redriven::default();
    let mut last = None;
    loop {
        let page = dead_after(services, host_id, which.error_code, last).await?;
        for id in &page {
            if redriven.jobs.len() == limit || redriven.refused.len() == limit {
                return Ok(redriven);
            }
            match redrive(services, actor, *id).await {
                Ok(Some((job, balance))) => {
                    services.announce(&job, Some(balance));
                    redriven.jobs.push(job);
                }
                Ok(None) => {}
                Err(ServiceError::Rejected(error)) => redriven.refused.push((*id, error)),
                Err(error) => return Err(error),
            }
        }
        last = page.last().copied();
        if last.is_none() {
            return Ok(redriven);
        }
    }
}

/// The next dead letters. `UUIDv7`s sort by age.
async fn dead_after(
    services: &Services,
    host_id: Option<Uuid>,
    error_code: Option<JobErrorCode>,
    last: Option<Uuid>,
) -> Result<Vec<Uuid>, DbErr> {
    let mut dead = job::Entity::find()
        .select_only()
        .column(job::Column::Id)
        .filter(job::Column::State.eq(JobState::Dead))
        .filter(job::Column::DiscardedAt.is_null());
    if let Some(host_id) = host_id {
        dead = dead.filter(job::Column::HostId.eq(host_id));
    }
    if let Some(code) = error_code {
        dead = dead.filter(job::Column::ErrorCode.eq(code));
    }
    if let Some(last) = last {
        dead = dead.filter(job::Column::Id.gt(last));
    }
    dead.order_by_asc(job::Column::Id)
        .limit(PAGE)
        .into_tuple()
        .all(services.db.read())
        .await
}

/// Accepts one again. None when somebody else did, or discarded it, since it was read.
async fn redrive(
    services: &Services,
    actor: &Actor,
    job_id: Uuid,
) -> Result<Option<(job::Model, Balance)>, ServiceError> {
    in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        still_administrator(&tx, actor).await?;
        let job = for_update(&tx, job::Entity::find_by_id(job_id))
            .one(&tx)
            .await?
            .filter(|job| job.state == JobState::Dead && job.discarded_at.is_none());
        let Some(job) = job else {
            return Ok::<_, ServiceError>(None);
        };
        audit::enter_job(&tx, actor, AuditAction::RetryDeadJobs, &job, now).await?;
        let account = Account::lock(&tx, job.user_id, now).await?;
        Ok(Some(
            accept_again(&tx, services, job, account, Limits::Waived).await?,
        ))
    })
}

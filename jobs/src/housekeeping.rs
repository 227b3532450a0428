//! What has to be done from time to time, by whoever is there: every process that dispatches does it, and doing it
//! twice changes nothing.

use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{
    JobErrorCode, JobKind, JobState, Timestamp, host, idempotency_key, image, job,
};

use crate::announce;
use crate::claim;
use crate::db::{for_update, in_transaction};
use crate::error::{JobFailure, ServiceError};
use crate::outcome::{self, Outcome};
use crate::reconcile;
use crate::services::Services;

/// How long an idempotency key is remembered: the contract promises a day.
const KEY_TIME: Duration = Duration::from_hours(48);

/// How often old keys are forgotten.
const FORGET_PERIOD: Duration = Duration::from_mins(10);

/// When the rarer chores were last done.
#[derive(Debug, Default)]
pub(crate) struct Housekeeping {
    forgot_keys: Option<Timestamp>,
}

impl Housekeeping {
    /// Does what is due.
    pub(crate) async fn tick(&mut self, services: &Services) {
        match claim::take_over(services).await {
            Ok(0) => {}
            Ok(_) => services.wake.notify_one(),
            Err(error) => tracing::warn!(%error, "could not look for vanished workers"),
        }
        if let Err(error) = give_up_lost_hosts(services).await {
            tracing::warn!(%error, "could not look for lost hosts");
        }
        let now = services.clock.now();
        if self
            .forgot_keys
            .is_none_or(|last| now.since(last) >= FORGET_PERIOD)
        {
            self.forgot_keys = Some(now);
            let forgotten = idempotency_key::Entity::delete_many()
                .filter(idempotency_key::Column::CreatedAt.lt(now.before(KEY_TIME)))
                .exec(services.db.write())
                .await;
            if let Err(error) = forgotten {
                tracing::warn!(%error, "could not forget old idempotency keys");
            }
        }
    }
}

/// A host gone for `host.lost_after` is not waited for: its pulls fail, its removals have nothing to remove, and what was
/// held on it is lost and refunded.
async fn give_up_lost_hosts(services: &Services) -> Result<(), ServiceError> {
    let lost_before = services
        .clock
        .now()
        .before(services.settings.host.lost_after);
    let lost: Vec<(Uuid, String)> = host::Entity::find()
        .select_only()
        .columns([host::Column::Id, host::Column::Name])
        .filter(host::Column::LastSeenAt.lt(lost_before))
        .into_tuple()
        .all(services.db.read())
        .await?;
    for (host_id, name) in lost {
        end_jobs(services, host_id, &name).await?;
        lose_holdings(services, host_id, &name).await?;
    }
    Ok(())
}

async fn end_jobs(services: &Services, host_id: Uuid, name: &str) -> Result<(), ServiceError> {
    let waiting: Vec<Uuid> = job::Entity::find()
        .select_only()
        .column(job::Column::Id)
        .filter(job::Column::HostId.eq(host_id))
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::State.is_in([JobState::Queued, JobState::Retrying]))
        .into_tuple()
        .all(services.db.read())
        .await?;
    for job_id in waiting {
        let ended = in_transaction!(services.db, |tx| {
            let job = for_update(&tx, job::Entity::find_by_id(job_id))
                .one(&tx)
                .await?;
            match job.filter(|job| matches!(job.state, JobState::Queued | JobState::Retrying)) {
                None => Ok::<_, ServiceError>(None),
                Some(job) => {
                    let outcome = match job.kind {
                        JobKind::PullImage => Outcome::Failed(JobFailure::fail(
                            JobErrorCode::HostUnavailable,
                            format!("host {name} has been gone for too long"),
                        )),
                        JobKind::RemoveImage => Outcome::NothingToDo,
                    };
                    Ok(Some(outcome::end(&tx, services, job, outcome).await?))
                }
            }
        })?;
        if let Some((job, balance)) = ended {
            services.announce(&job, balance);
        }
    }
    Ok(())
}

async fn lose_holdings(services: &Services, host_id: Uuid, name: &str) -> Result<(), ServiceError> {
    let users = in_transaction!(services.db, |tx| {
        let holdings = image::Entity::find()
            .filter(image::Column::HostId.eq(host_id))
            .filter(image::Column::Live.eq(1))
            .all(&tx)
            .await?;
        let reason = format!("host {name} has been gone for too long");
        reconcile::end_all(&tx, services, holdings, &reason).await
    })?;
    for user in users {
        announce::balance_changed(&services.events, user);
    }
    Ok(())
}

//! What has to be done from time to time, by whoever is there: every process that dispatches does it, and doing it
//! twice changes nothing.

use std::time::Duration;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{
    ImageState, JobErrorCode, JobKind, JobState, Timestamp, host, idempotency_key, image, job,
    job_retry,
};

use crate::accounts::{GRANT_KEYS, forget_expired_sign_ins, forget_old_delays};
use crate::announce;
use crate::claim;
use crate::clock_skew::ClockCheck;
use crate::db::{for_update, in_transaction};
use crate::error::{JobFailure, ServiceError};
use crate::hosts::{self, Moving};
use crate::outcome::{self, Outcome};
use crate::reconcile;
use crate::services::Services;

/// How long an idempotency key is remembered, but those of grants, which are kept for ever: the contract promises a day.
const KEY_TIME: Duration = Duration::from_hours(48);

/// How long a retry is remembered: limits look back an hour.
const RETRY_TIME: Duration = Duration::from_hours(2);

/// How often old keys and retries are forgotten.
const FORGET_PERIOD: Duration = Duration::from_mins(10);

/// When the rarer chores were last done.
#[derive(Debug, Default)]
pub(crate) struct Housekeeping {
    forgot_keys: Option<Timestamp>,
    moving: Moving,
    clocks: ClockCheck,
}

impl Housekeeping {
    /// Does what is due.
    pub(crate) async fn tick(&mut self, services: &Services) {
        match claim::take_over(services).await {
            Ok(0) => {}
            Ok(_) => services.wake.notify_one(),
            Err(error) => tracing::warn!(%error, "could not look for vanished workers"),
        }
        // Before what is on lost hosts is given up.
        match self.moving.pass(services).await {
            Ok(0) => {}
            Ok(_) => services.wake.notify_one(),
            Err(error) => {
                tracing::warn!(%error, "could not look for hosts that pulls have to leave");
            }
        }
        if let Err(error) = give_up_lost_hosts(services, self.moving.silent(services)).await {
            tracing::warn!(%error, "could not look for lost hosts");
        }
        self.clocks.tick(services).await;
        let now = services.clock.now();
        if self
            .forgot_keys
            .is_none_or(|last| now.since(last) >= FORGET_PERIOD)
        {
            self.forgot_keys = Some(now);
            let forgotten = idempotency_key::Entity::delete_many()
                .filter(idempotency_key::Column::CreatedAt.lt(now.before(KEY_TIME)))
                .filter(idempotency_key::Column::Mutation.ne(GRANT_KEYS))
                .exec(services.db.write())
                .await;
            if let Err(error) = forgotten {
                tracing::warn!(%error, "could not forget old idempotency keys");
            }
            let forgotten = job_retry::Entity::delete_many()
                .filter(job_retry::Column::CreatedAt.lt(now.before(RETRY_TIME)))
                .exec(services.db.write())
                .await;
            if let Err(error) = forgotten {
                tracing::warn!(%error, "could not forget old retries");
            }
            if let Err(error) = forget_old_delays(&services.db, now).await {
                tracing::warn!(%error, "could not forget old wrong passwords");
            }
            if let Err(error) = forget_expired_sign_ins(&services.db, now).await {
                tracing::warn!(%error, "could not forget expired sign-ins");
            }
        }
    }
}

/// A host gone for `host.lost_after` is not waited for: its pulls fail, its removals have nothing to remove, and what was
/// held on it is lost and refunded.
///
/// `silent` are the hosts that stayed silent while this process looked: after a weekend with everything switched off no
/// host is lost.
async fn give_up_lost_hosts(services: &Services, silent: Vec<Uuid>) -> Result<(), ServiceError> {
    if silent.is_empty() {
        return Ok(());
    }
    let lost_before = services
        .clock
        .now()
        .before(services.settings.host.lost_after);
    let lost: Vec<(Uuid, String)> = host::Entity::find()
        .select_only()
        .columns([host::Column::Id, host::Column::Name])
        .filter(host::Column::Id.is_in(silent))
        .filter(host::Column::LastSeenAt.lt(lost_before))
        .into_tuple()
        .all(services.db.read())
        .await?;
    for (host_id, name) in lost {
        let given_up = async {
            lose_holdings(services, host_id, &name).await?;
            end_jobs(services, host_id, &name).await
        };
        if let Err(error) = given_up.await {
            tracing::warn!(host = name, %error, "could not give up a lost host: trying again");
        }
    }
    Ok(())
}

/// Whether a host is gone for good: it may have come back since it was looked for.
fn is_lost(services: &Services, host: Option<&host::Model>) -> bool {
    host.is_some_and(|host| hosts::is_lost(services, host))
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
            // One that was moved to another host since is not lost.
            let select = job::Entity::find_by_id(job_id).filter(job::Column::HostId.eq(host_id));
            let job = for_update(&tx, select).one(&tx).await?;
            let job = job.filter(|job| matches!(job.state, JobState::Queued | JobState::Retrying));
            let host = host::Entity::find_by_id(host_id).one(&tx).await?;
            match job.filter(|_| is_lost(services, host.as_ref())) {
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
    let users: Vec<Uuid> = in_transaction!(services.db, |tx| {
        let host = for_update(&tx, host::Entity::find_by_id(host_id))
            .one(&tx)
            .await?;
        if !is_lost(services, host.as_ref()) {
            return Ok(Vec::new());
        }
        let holdings = image::Entity::find()
            .filter(image::Column::HostId.eq(host_id))
            .filter(image::Column::Live.eq(1))
            .all(&tx)
            .await?;
        let reason = format!("host {name} has been gone for too long");
        reconcile::end_all(&tx, services, holdings, ImageState::Lost, &reason).await
    })?;
    for user in users {
        announce::balance_changed(&services.events, user);
    }
    Ok(())
}

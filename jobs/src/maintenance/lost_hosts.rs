//! A host gone for `host.lost_after` is not waited for: its pulls fail, its removals have nothing to remove, and what was
//! held on it is lost and refunded.
//!
//! One holder, and one job, in a transaction: a host that hundreds of users had images on keeps none of them waiting for
//! the others.

use sea_orm::sea_query::{Condition, Expr, ExprTrait as _, Query};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{ImageState, JobState, host, image, job};

use crate::error::ServiceError;
use crate::fleet_lease::Rounds;
use crate::holdings;
use crate::hosts::is_lost;
use crate::infra::db::{self, for_update, in_transaction, lock_now};
use crate::job::transition;
use crate::live::notify;
use crate::services::Services;

/// Holdings of one holder that end in one transaction.
const HOLDINGS: u64 = 100;

/// Gives up what is on lost hosts.
///
/// `silent` are the hosts that stayed silent while this process looked: after a weekend with everything switched off no
/// host is lost.
pub(crate) async fn give_up(
    services: &Services,
    silent: Vec<Uuid>,
    rounds: &Rounds,
) -> Result<(), ServiceError> {
    if silent.is_empty() {
        return Ok(());
    }
    for host in lost(services, silent).await? {
        let given_up = async {
            lose_holdings(services, &host, rounds).await?;
            end_jobs(services, &host, rounds).await
        };
        if let Err(error) = given_up.await {
            tracing::warn!(host = host.name, %error, "could not give up a lost host: trying again");
        }
    }
    Ok(())
}

/// The lost hosts that something is left of.
async fn lost(services: &Services, silent: Vec<Uuid>) -> Result<Vec<host::Model>, DbErr> {
    let lost_after = services.settings.host.lost_after;
    let host_id = (host::Entity, host::Column::Id);
    let held = Query::select()
        .expr(Expr::value(1))
        .from(image::Entity)
        .and_where(image::Column::HostId.into_expr().equals(host_id))
        .and_where(image::Column::Live.eq(1))
        .to_owned();
    let waiting = Query::select()
        .expr(Expr::value(1))
        .from(job::Entity)
        .and_where(job::Column::HostId.into_expr().equals(host_id))
        .and_where(job::Column::Live.eq(1))
        .and_where(job::Column::State.is_in([JobState::Queued, JobState::Retrying]))
        .to_owned();
    let hosts = host::Entity::find()
        .filter(host::Column::Id.is_in(silent))
        .filter(host::Column::LastSeenAt.lt(services.clock.now().before(lost_after)))
        .filter(
            Condition::any()
                .add(Expr::exists(held))
                .add(Expr::exists(waiting)),
        )
        .all(services.db.read())
        .await?;
    let lost = hosts.into_iter().filter(|host| is_lost(services, host));
    Ok(lost.collect())
}

fn reason(host: &host::Model) -> String {
    format!("host {} has been gone for too long", host.name)
}

async fn lose_holdings(
    services: &Services,
    host: &host::Model,
    rounds: &Rounds,
) -> Result<(), ServiceError> {
    let holders: Vec<Uuid> = image::Entity::find()
        .select_only()
        .column(image::Column::Holder)
        .distinct()
        .filter(image::Column::HostId.eq(host.id))
        .filter(image::Column::Live.eq(1))
        .into_tuple()
        .all(services.db.read())
        .await?;
    for holder in holders {
        while rounds.goes_on() {
            match lose_some_of(services, host, holder).await {
                Ok(ended) if ended as u64 == HOLDINGS => {}
                Ok(_) => break,
                // One holder whose images cannot be lost is not to keep the others waiting.
                Err(error) => {
                    tracing::error!(%holder, host = host.name, %error, "could not refund what is lost");
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Ends some holdings of one holder. Returns how many.
async fn lose_some_of(
    services: &Services,
    host: &host::Model,
    holder: Uuid,
) -> Result<usize, ServiceError> {
    let (users, ended) = in_transaction!(services.db, |tx| {
        // A host that comes back at this moment is heard of before, and keeps everything, or after.
        let host_now = for_update(&tx, host::Entity::find_by_id(host.id))
            .one(&tx)
            .await?;
        if !host_now.is_some_and(|host| is_lost(services, &host)) {
            return Ok::<_, ServiceError>((Vec::new(), 0));
        }
        let holdings = image::Entity::find()
            .filter(image::Column::HostId.eq(host.id))
            .filter(image::Column::Live.eq(1))
            .filter(image::Column::Holder.eq(holder))
            .order_by_asc(image::Column::Id)
            .limit(HOLDINGS)
            .all(&tx)
            .await?;
        let ended = holdings.len();
        let (state, reason) = (ImageState::Lost, reason(host));
        let users = holdings::end_all(&tx, services, holdings, state, &reason).await?;
        Ok((users, ended))
    })?;
    for user in users {
        notify::balance_changed(&services.events, user);
    }
    Ok(ended)
}

async fn end_jobs(
    services: &Services,
    host: &host::Model,
    rounds: &Rounds,
) -> Result<(), ServiceError> {
    let waiting: Vec<Uuid> = job::Entity::find()
        .select_only()
        .column(job::Column::Id)
        .filter(job::Column::HostId.eq(host.id))
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::State.is_in([JobState::Queued, JobState::Retrying]))
        .order_by_asc(job::Column::Id)
        .into_tuple()
        .all(services.db.read())
        .await?;
    for job_id in waiting {
        if !rounds.goes_on() {
            break;
        }
        match end_job(services, host, job_id).await {
            Ok(()) => {}
            Err(ServiceError::Database(error)) if db::is_locked(&error) => {
                tracing::debug!(job.id = %job_id, "another transaction has a job of a lost host: looking again");
            }
            Err(error) => {
                tracing::error!(job.id = %job_id, host = host.name, %error, "could not end a job of a lost host");
            }
        }
    }
    Ok(())
}

async fn end_job(
    services: &Services,
    host: &host::Model,
    job_id: Uuid,
) -> Result<(), ServiceError> {
    let ended = in_transaction!(services.db, |tx| {
        // One that was moved to another host since is not lost.
        let select = job::Entity::find_by_id(job_id).filter(job::Column::HostId.eq(host.id));
        let job = lock_now(&tx, select).await?;
        let job = job.filter(|job| matches!(job.state, JobState::Queued | JobState::Retrying));
        let Some(job) = job else {
            return Ok::<_, ServiceError>(None);
        };
        let host_now = host::Entity::find_by_id(host.id).one(&tx).await?;
        if !host_now.is_some_and(|host| is_lost(services, &host)) {
            return Ok(None);
        }
        let outcome = crate::kinds::implementation_of(job.kind).when_host_is_lost(reason(host));
        Ok(Some(transition::finish(&tx, services, job, outcome).await?))
    })?;
    if let Some((job, balance)) = ended {
        services.announce(&job, balance);
    }
    Ok(())
}

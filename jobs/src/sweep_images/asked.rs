//! Sweeps that an administrator asks for. The request does the first hundred removals and answers; the rest of each
//! host is a row, and the process that does the maintenance goes on with it, even if the gateway that was asked is gone.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, host, host_sweep, job};

use super::holdings::{PAGE, Part, SweptPage, chosen, enter_in, sweep_page};
use crate::accounts::audit::Actor;
use crate::error::ServiceError;
use crate::fleet_lease::Rounds;
use crate::infra::db::in_transaction;
use crate::services::Services;

/// How many removals the answer to a request has at most.
pub const FIRST: usize = 100;

/// How long the gateway that was asked has for these: after that, the others do not wait for it any more.
const RESERVED: Duration = Duration::from_mins(1);

/// Sweeps that are read at a time.
const SWEEPS: u64 = 20;

/// Holdings of a batch in the background: between two of them the house may be kept by another process.
const BATCH: u64 = 20;

/// An administrator wants hosts cleaned up.
#[derive(Clone, Debug)]
pub struct SweepImages {
    /// Who asks.
    pub actor: Actor,
    /// On these hosts; on every host without. None in it is an id of something else.
    pub hosts: Option<Vec<Option<Uuid>>>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// Asks for the removal of every private image on these hosts that no container used when their workers last looked, and
/// returns the first hundred removals: live ones that were there already, and new ones. The others follow in the
/// background, even if a process crashes. Each belongs to the image's holder, who gets the refund; as the holder did not ask, no
/// limit refuses it. Nothing is swept when one of the hosts is unknown.
pub async fn sweep_images(
    services: &Services,
    request: &SweepImages,
) -> Result<Vec<job::Model>, ServiceError> {
    let hosts = chosen(services, request.hosts.as_deref()).await?;
    let sweeps = begin(services, request, &hosts).await?;
    let mut jobs = Vec::new();
    for mut sweep in sweeps {
        while jobs.len() < FIRST {
            let most = (FIRST - jobs.len()) as u64;
            let page = sweep_on(services, &sweep, most.min(PAGE)).await?;
            jobs.extend(page.jobs);
            sweep.last_image_id = page.last;
            if page.last.is_none() {
                break;
            }
        }
        let over = jobs.len() < FIRST;
        settle(services, &sweep, over).await?;
    }
    Ok(jobs)
}

/// Enters the request into the audit log, with a sweep for each host.
async fn begin(
    services: &Services,
    request: &SweepImages,
    hosts: &[host::Model],
) -> Result<Vec<host_sweep::Model>, ServiceError> {
    let until = services.clock.now().after(RESERVED);
    let sweeps = hosts.iter().map(|host| host_sweep::Model {
        id: Uuid::now_v7(),
        host_id: host.id,
        last_image_id: None,
        reserved_until: Some(until),
        traceparent: request.traceparent.clone(),
    });
    let sweeps: Vec<host_sweep::Model> = sweeps.collect();
    in_transaction!(services.db, |tx| {
        enter_in(&tx, services, &request.actor, hosts).await?;
        for sweep in &sweeps {
            host_sweep::Entity::insert(host_sweep::ActiveModel::from(sweep.clone()))
                .exec_without_returning(&tx)
                .await?;
        }
        Ok::<_, ServiceError>(())
    })?;
    Ok(sweeps)
}

async fn sweep_on(
    services: &Services,
    sweep: &host_sweep::Model,
    most: u64,
) -> Result<SweptPage, ServiceError> {
    let part = Part {
        host_id: sweep.host_id,
        after: sweep.last_image_id,
        // Images that were pulled since are not meant.
        before: Some(sweep.id),
        most,
    };
    sweep_page(services, part, sweep.traceparent.as_deref()).await
}

/// Notes how far a sweep is, and that anyone may go on with it; or that it is over.
async fn settle(services: &Services, sweep: &host_sweep::Model, over: bool) -> Result<(), DbErr> {
    if over {
        host_sweep::Entity::delete_by_id(sweep.id)
            .exec(services.db.write())
            .await?;
        return Ok(());
    }
    host_sweep::Entity::update_many()
        .set(host_sweep::ActiveModel {
            last_image_id: Set(sweep.last_image_id),
            reserved_until: Set(None),
            ..Default::default()
        })
        .filter(host_sweep::Column::Id.eq(sweep.id))
        .exec(services.db.write())
        .await?;
    Ok(())
}

/// Goes on with what is left of the sweeps that were asked for.
pub(crate) async fn go_on(services: &Services, rounds: &Rounds) -> Result<(), ServiceError> {
    for mut sweep in left(services, services.clock.now()).await? {
        loop {
            if !rounds.goes_on() {
                return Ok(());
            }
            let page = sweep_on(services, &sweep, BATCH).await?;
            let over = page.last.is_none();
            sweep.last_image_id = page.last.or(sweep.last_image_id);
            settle(services, &sweep, over).await?;
            if over {
                break;
            }
        }
    }
    Ok(())
}

async fn left(services: &Services, now: Timestamp) -> Result<Vec<host_sweep::Model>, DbErr> {
    host_sweep::Entity::find()
        .filter(
            Condition::any()
                .add(host_sweep::Column::ReservedUntil.is_null())
                .add(host_sweep::Column::ReservedUntil.lt(now)),
        )
        .order_by_asc(host_sweep::Column::Id)
        .limit(SWEEPS)
        .all(services.db.read())
        .await
}

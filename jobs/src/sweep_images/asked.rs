//! Sweeps that an administrator asks for. The request does the first hundred removals and answers; the rest of each
//! host is a row, and the process that does the maintenance goes on with it, even if the gateway that was asked is gone.

use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{host_sweep, job};

use super::holdings::{begin, chosen, forget, next_removals, save};
use crate::accounts::audit::Actor;
use crate::error::ServiceError;
use crate::fleet_lease::Rounds;
use crate::infra::db::in_transaction;
use crate::services::Services;

/// How many removals the answer to a request has at most.
pub const FIRST: usize = 100;

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
    let sweeps = in_transaction!(services.db, |tx| {
        let traceparent = request.traceparent.as_deref();
        begin(&tx, services, &request.actor, &hosts, traceparent).await
    })?;
    let mut jobs = Vec::new();
    for mut sweep in sweeps {
        let mut over = false;
        while !over && jobs.len() < FIRST {
            let most = (FIRST - jobs.len()) as u64;
            let removals = next_removals(services, &mut sweep, most).await?;
            over = removals.is_none();
            jobs.extend(removals.into_iter().flatten());
        }
        if over {
            forget(services, &sweep).await?;
        } else {
            save(services, &sweep, false).await?;
        }
    }
    Ok(jobs)
}

/// Goes on with what is left of the sweeps that no process has for itself: those that were asked for, and those that a
/// vanished process began.
pub(crate) async fn go_on(services: &Services, rounds: &Rounds) -> Result<(), ServiceError> {
    let free = Condition::any()
        .add(host_sweep::Column::ReservedUntil.is_null())
        .add(host_sweep::Column::ReservedUntil.lt(services.clock.now()));
    let left = host_sweep::Entity::find()
        .filter(free)
        .order_by_asc(host_sweep::Column::Id)
        .limit(SWEEPS)
        .all(services.db.read())
        .await?;
    for mut sweep in left {
        while rounds.goes_on() {
            if next_removals(services, &mut sweep, BATCH).await?.is_none() {
                forget(services, &sweep).await?;
                break;
            }
            save(services, &sweep, false).await?;
        }
    }
    Ok(())
}

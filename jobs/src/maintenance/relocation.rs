//! Pulls leave hosts that are gone, and hosts that an administrator drains.
//!
//! A pull whose user named its host stays with it, and so does every removal. A waiting pull of another kind is placed
//! anew, as if it were asked for now, in one transaction that locks the job: a worker of the old host either has claimed
//! it before, and keeps it, or finds that it is another host's. Its hold stays; it stands where a new job of its user on
//! the new host would stand, and jobs of one user that move together keep their order.

use std::collections::HashMap;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait,
    IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{JobKind, JobState, Role, Timestamp, host, job};

use crate::error::ServiceError;
use crate::fleet_lease::Rounds;
use crate::holdings::{self, let_go_of_moved, publication};
use crate::hosts::{is_online, placement};
use crate::infra::db::{self, in_transaction, lock_now};
use crate::infra::trace;
use crate::job::order;
use crate::job::transition::{self, Outcome};
use crate::ledger::{Account, Balance};
use crate::services::Services;

/// Jobs of one host that are moved in one pass.
const BATCH: u64 = 100;

/// Why a host's pulls leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Nothing was heard of it for too long.
    Silent,
    /// It works, and is to take no new jobs.
    Drained,
}

/// Moves pulls off hosts, and remembers since when it has seen which hosts silent.
#[derive(Debug, Default)]
pub(crate) struct Relocator {
    offline_since: HashMap<Uuid, Timestamp>,
}

impl Relocator {
    /// Moves what is to be moved now.
    pub(crate) async fn pass(
        &mut self,
        services: &Services,
        rounds: &Rounds,
    ) -> Result<(), ServiceError> {
        let now = services.clock.now();
        let settings = &services.settings.host;
        let hosts = host::Entity::find().all(services.db.read()).await?;
        let paused = placement::paused(services.db.read()).await?;
        let online = |host: &host::Model| is_online(services, host);
        self.offline_since
            .retain(|id, _| hosts.iter().any(|host| host.id == *id && !online(host)));
        for host in &hosts {
            let why = if online(host) {
                (!host.schedulable).then_some(Why::Drained)
            } else {
                // When this process starts, or the fleet comes back, every host looks silent until its next heartbeat: a
                // silent host is watched for two of them.
                let since = *self.offline_since.entry(host.id).or_insert(now);
                (now.since(since) >= settings.offline_after / 3).then_some(Why::Silent)
            };
            let others = |other: &host::Model| {
                other.id != host.id
                    && other.schedulable
                    && online(other)
                    && !paused.contains(&other.id)
            };
            if let Some(why) = why
                && hosts.iter().any(others)
            {
                move_off(services, host, why, rounds).await?;
            }
        }
        Ok(())
    }

    /// The hosts that were silent for at least `offline_after` while this process looked. What was last heard of a host
    /// says nothing while the database, or the whole fleet, was off.
    pub(crate) fn silent(&self, services: &Services) -> Vec<Uuid> {
        let now = services.clock.now();
        let long = services.settings.host.offline_after;
        self.offline_since
            .iter()
            .filter(|(_, since)| now.since(**since) >= long)
            .map(|(id, _)| *id)
            .collect()
    }
}

async fn move_off(
    services: &Services,
    host: &host::Model,
    why: Why,
    rounds: &Rounds,
) -> Result<(), ServiceError> {
    // In the order of their turns, so that they keep it.
    let waiting: Vec<(Uuid, i32, Option<String>)> = job::Entity::find()
        .select_only()
        .columns([
            job::Column::Id,
            job::Column::Attempt,
            job::Column::Traceparent,
        ])
        .filter(movable(host.id, why))
        .order_by_asc(job::Column::Turn)
        .order_by_asc(job::Column::Id)
        .limit(BATCH)
        .into_tuple()
        .all(services.db.read())
        .await?;
    for (job_id, attempt, traceparent) in waiting {
        if !rounds.goes_on() {
            break;
        }
        let trace_id = trace::id_of(traceparent.as_deref(), job_id);
        match move_one(services, host.id, why, job_id).await {
            Ok(None) => {}
            Ok(Some((job, to, balance))) => {
                tracing::info!(job.id = %job.id, job.attempt, trace_id, from = host.name, to, "moved a pull to another host");
                services.announce(&job, balance);
                services.wake.all();
            }
            Err(ServiceError::Database(error)) if db::is_locked(&error) => {
                tracing::debug!(job.id = %job_id, "another transaction has a pull that is to be moved: looking again");
            }
            // One that cannot be moved is not to keep the others waiting.
            Err(error) => {
                tracing::error!(job.id = %job_id, job.attempt = attempt, trace_id, %error, "could not move a pull");
            }
        }
    }
    Ok(())
}

/// The jobs that leave a host: waiting pulls, placed there by Wharfinger.
///
/// A tag that one of them may have moved on a silent host is put back by the host's reconciler once it is there again. A
/// drained host works: what has begun on its engine is finished or tidied up there.
fn movable(host_id: Uuid, why: Why) -> Condition {
    let waiting = Condition::all()
        .add(job::Column::HostId.eq(host_id))
        .add(job::Column::Live.eq(1))
        .add(job::Column::State.is_in([JobState::Queued, JobState::Retrying]))
        .add(job::Column::Kind.eq(JobKind::PullImage))
        .add(job::Column::HostNamed.eq(false));
    match why {
        Why::Silent => waiting,
        Why::Drained => waiting.add(job::Column::EngineImageId.is_null()),
    }
}

type Moved = (job::Model, String, Option<Balance>);

async fn move_one(
    services: &Services,
    from: Uuid,
    why: Why,
    job_id: Uuid,
) -> Result<Option<Moved>, ServiceError> {
    in_transaction!(services.db, |tx| {
        let now = services.clock.now();
        let select = job::Entity::find_by_id(job_id).filter(movable(from, why));
        // Claimed, cancelled or moved by another process since it was selected.
        let Some(job) = lock_now(&tx, select).await? else {
            return Ok::<_, ServiceError>(None);
        };
        if !still(&tx, services, from, why).await? {
            return Ok(None);
        }
        let Some(to) =
            placement::elsewhere(&tx, services, job.user_id, &job.reference, from).await?
        else {
            return Ok(None);
        };
        let mut account = Account::lock(&tx, job.user_id, now).await?;
        // An administrator's pull of a public reference refreshes it.
        let public = publication::of_reference(&tx, to.id, &job.reference)
            .await?
            .filter(|_| account.user().role != Role::Admin);
        let mut moved = job.clone().into_active_model();
        moved.host_id = Set(Some(to.id));
        // Behind what its user has on the new host already: of one reference there, one job runs at a time.
        moved.ordinal = Set(account.next_ordinal());
        moved.turn = Set(order::place(&tx, job.user_id, to.id, now).await?);
        moved.dispatched_at = Set(None);
        moved.sequence = Set(job.sequence.saturating_add(1));
        // Data of the old host's engine says nothing of the new one's.
        moved.engine_image_id = Set(public.as_ref().map(|image| image.engine_image_id));
        moved.image_id = Set(public.as_ref().map(|image| image.id));
        let moved = moved.update(&tx).await?;
        if public.is_some() {
            let held = holdings::of_reference(&tx, moved.user_id, to.id, &moved.reference).await?;
            if let Some(old) = held {
                let_go_of_moved(&tx, &mut account, old, &moved).await?;
            }
        }
        account.save().await?;
        let (moved, balance) = match public {
            // A public image is on that host already.
            Some(_) => transition::finish(&tx, services, moved, Outcome::NothingToDo).await?,
            None => (moved, None),
        };
        Ok(Some((moved, to.name, balance)))
    })
}

/// Whether the host is still as it was: it may have come back, or take jobs again.
async fn still(
    tx: &crate::infra::db::Transaction,
    services: &Services,
    host_id: Uuid,
    why: Why,
) -> Result<bool, DbErr> {
    let host = host::Entity::find_by_id(host_id).one(tx).await?;
    Ok(host.is_some_and(|host| match why {
        Why::Silent => !is_online(services, &host),
        Why::Drained => !host.schedulable,
    }))
}

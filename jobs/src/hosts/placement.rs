//! The choice of a host for a pull.

use std::cmp::{Ordering, Reverse};
use std::collections::{HashMap, HashSet};

use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{host, image, job, paused_queue};

use super::is_online;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::services::Services;

/// Part of a host's storage that must be free before a pull is placed there without its user naming the host.
const ENOUGH_FREE: f64 = 0.05;

/// Chooses the host of a pull.
///
/// A host that the user names is taken if it is online and takes new jobs; nothing else is asked of it. Without a name, of
/// the hosts that are online and take new jobs, and of those the ones whose queue is not paused, if there are any:
///
/// 1. those where this reference is held already, by this user or by everyone (a public image);
/// 2. if there is none, those with enough free storage: a twentieth of the whole, and as many bytes as a pull holds
///    credits for at first. A host that does not say how full it is counts as one with enough;
/// 3. of these the one with the least work, counted in live jobs for each job that it runs at a time; of equals the one
///    with the most free storage. Where no host has enough storage, the one with the most comes first.
///
/// Images of other users do not count in the first step, although a pull would be quicker there: a job shows its host, so
/// the choice would tell every caller whether another user holds an image of that name. `reused` shows by design that
/// layers were there, but only to users to whom the registry gave the image.
pub(crate) async fn place(
    tx: &impl ConnectionTrait,
    services: &Services,
    user_id: Uuid,
    named: Option<Uuid>,
    reference: &str,
) -> Result<host::Model, ServiceError> {
    if let Some(id) = named {
        return take_named(tx, services, id).await;
    }
    let hosts = taking_jobs(tx, services).await?;
    choose(tx, services, hosts, user_id, reference)
        .await?
        .ok_or_else(|| {
            unavailable(
                "no Docker host is online and taking jobs: try again later, or ask an administrator"
                    .into(),
            )
        })
}

/// The same for a pull that is to leave a host: none where there is no other.
pub(crate) async fn elsewhere(
    tx: &impl ConnectionTrait,
    services: &Services,
    user_id: Uuid,
    reference: &str,
    than: Uuid,
) -> Result<Option<host::Model>, DbErr> {
    let mut hosts = taking_jobs(tx, services).await?;
    hosts.retain(|host| host.id != than);
    choose(tx, services, hosts, user_id, reference).await
}

async fn take_named(
    tx: &impl ConnectionTrait,
    services: &Services,
    id: Uuid,
) -> Result<host::Model, ServiceError> {
    let host = host::Entity::find_by_id(id)
        .one(tx)
        .await?
        .ok_or_else(|| {
            UserError::new(
                UserErrorCode::HostNotFound,
                "hostId",
                "there is no such host: `hosts` lists them, and leaving hostId out lets Wharfinger choose one",
            )
        })?;
    if !host.schedulable {
        return Err(unavailable(format!(
            "host {} takes no new jobs at the moment: choose another",
            host.name
        )));
    }
    if !is_online(services, &host) {
        return Err(unavailable(format!(
            "host {} is offline: choose another, or try again later",
            host.name
        )));
    }
    Ok(host)
}

/// The hosts that new jobs may be placed on.
async fn taking_jobs(
    tx: &impl ConnectionTrait,
    services: &Services,
) -> Result<Vec<host::Model>, DbErr> {
    let mut hosts = host::Entity::find()
        .filter(host::Column::Schedulable.eq(true))
        .all(tx)
        .await?;
    hosts.retain(|host| is_online(services, host));
    if hosts.len() > 1 {
        // A job on a paused host waits: such a host is taken only if there is no other.
        let paused = paused(tx).await?;
        let goes_on = |host: &host::Model| !paused.contains(&host.id);
        if hosts.iter().any(goes_on) {
            hosts.retain(goes_on);
        }
    }
    Ok(hosts)
}

/// The hosts whose queues are paused.
pub(crate) async fn paused(db: &impl ConnectionTrait) -> Result<HashSet<Uuid>, DbErr> {
    let paused = paused_queue::Entity::find().all(db).await?;
    Ok(paused.into_iter().map(|queue| queue.id).collect())
}

async fn choose(
    tx: &impl ConnectionTrait,
    services: &Services,
    mut hosts: Vec<host::Model>,
    user_id: Uuid,
    reference: &str,
) -> Result<Option<host::Model>, DbErr> {
    // With one host there is nothing to ask for.
    if hosts.len() < 2 {
        return Ok(hosts.pop());
    }
    let least = services.settings.credits.minimum_to_pull.micro();
    let has_room = |host: &host::Model| has_room(host, least);
    let ids: Vec<Uuid> = hosts.iter().map(|host| host.id).collect();
    let with_image = with_image(tx, &ids, user_id, reference).await?;
    let any_room = if with_image.is_empty() {
        let any = hosts.iter().any(has_room);
        hosts.retain(|host| !any || has_room(host));
        any
    } else {
        hosts.retain(|host| with_image.contains(&host.id));
        true
    };
    let jobs = live_jobs(tx, &ids).await?;
    let work = |host: &host::Model| Work {
        jobs: jobs.get(&host.id).copied().unwrap_or(0),
        at_a_time: host.concurrency.max(1).into(),
    };
    let free = |host: &host::Model| Reverse(free_bytes(host));
    Ok(hosts.into_iter().min_by(|a, b| {
        let by_work = work(a).cmp(&work(b));
        let by_storage = free(a).cmp(&free(b));
        let order = if any_room {
            by_work.then(by_storage)
        } else {
            by_storage.then(by_work)
        };
        order.then(a.id.cmp(&b.id))
    }))
}

/// Those of these hosts where the user, or everyone, holds the reference.
async fn with_image(
    tx: &impl ConnectionTrait,
    hosts: &[Uuid],
    user_id: Uuid,
    reference: &str,
) -> Result<Vec<Uuid>, DbErr> {
    image::Entity::find()
        .select_only()
        .column(image::Column::HostId)
        .distinct()
        .filter(image::Column::HostId.is_in(hosts.iter().copied()))
        .filter(image::Column::Reference.eq(reference))
        // The choice must not show what others hold.
        .filter(image::Column::Holder.is_in([user_id, Uuid::nil()]))
        .filter(image::Column::Live.eq(1))
        .into_tuple()
        .all(tx)
        .await
}

/// How long a host has to work for what it has: its jobs over those that it runs at a time, compared without dividing.
#[derive(Clone, Copy, Debug)]
struct Work {
    jobs: i64,
    at_a_time: i64,
}

impl Work {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |jobs: i64, of: i64| i128::from(jobs) * i128::from(of);
        product(self.jobs, other.at_a_time).cmp(&product(other.jobs, self.at_a_time))
    }
}

fn unavailable(message: String) -> ServiceError {
    UserError::new(UserErrorCode::HostUnavailable, "hostId", message).into()
}

fn free_bytes(host: &host::Model) -> i64 {
    host.storage_total.unwrap_or(0) - host.storage_used.unwrap_or(0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of a disk needs no 53 bits"
)]
fn has_room(host: &host::Model, least: i64) -> bool {
    host.storage_total.is_none_or(|total| {
        let free = free_bytes(host);
        free >= least && free as f64 >= total as f64 * ENOUGH_FREE
    })
}

async fn live_jobs(tx: &impl ConnectionTrait, hosts: &[Uuid]) -> Result<HashMap<Uuid, i64>, DbErr> {
    let counted: Vec<(Uuid, i64)> = job::Entity::find()
        .select_only()
        .column(job::Column::HostId)
        .expr(Func::count(Expr::col(job::Column::Id)))
        .filter(job::Column::HostId.is_in(hosts.iter().copied()))
        .filter(job::Column::Live.eq(1))
        .group_by(job::Column::HostId)
        .into_tuple()
        .all(tx)
        .await?;
    Ok(counted.into_iter().collect())
}

//! The choice of a host for a pull.

use std::cmp::{Ordering, Reverse};
use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DbErr, EntityTrait};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, paused_queue};

use super::seen_lately;
use crate::error::{UserError, UserErrorCode};
use crate::infra::db::sql::{Columns, Sql};
use crate::services::Services;

/// Part of a host's storage that must be free before a pull is placed there without its user naming the host.
const ENOUGH_FREE: f64 = 0.05;

/// A host that a pull may go to.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    schedulable: bool,
    storage_used: Option<i64>,
    storage_total: Option<i64>,
    concurrency: i32,
    last_seen_at: Option<Timestamp>,
    paused: bool,
    /// Whether the user, or everyone, holds the reference there.
    has_image: bool,
    /// Live jobs, where they matter: there is another host that takes jobs.
    jobs: i64,
}

impl Candidate {
    /// Appends what [`Self::read`] reads, for a selection from `hosts`.
    pub(crate) fn columns(sql: &mut Sql, user_id: Uuid, reference: &str) {
        sql.push(
            "hosts.id, hosts.name, hosts.schedulable, hosts.storage_used, hosts.storage_total",
        );
        sql.push(", hosts.concurrency, hosts.last_seen_at");
        sql.push(", (SELECT COUNT(*) FROM paused_queues WHERE paused_queues.id = hosts.id)");
        sql.push(
            ", (SELECT COUNT(*) FROM images WHERE images.host_id = hosts.id AND images.live = 1",
        );
        sql.push(" AND images.reference = ").bind(reference);
        // What others hold is not to be told by where a pull goes.
        sql.push(" AND images.holder IN ");
        sql.bind_all([user_id, Uuid::nil()]);
        sql.push(
            "), CASE WHEN (SELECT COUNT(*) FROM hosts AS others WHERE others.schedulable) > 1",
        );
        sql.push(" THEN (SELECT COUNT(*) FROM jobs WHERE jobs.host_id = hosts.id AND jobs.live = 1) ELSE 0 END");
    }

    pub(crate) fn read(columns: &mut Columns<'_>) -> Result<Self, DbErr> {
        Ok(Self {
            id: columns.take()?,
            name: columns.take()?,
            schedulable: columns.take()?,
            storage_used: columns.take()?,
            storage_total: columns.take()?,
            concurrency: columns.take()?,
            last_seen_at: columns.take()?,
            paused: columns.take::<i64>()? > 0,
            has_image: columns.take::<i64>()? > 0,
            jobs: columns.take()?,
        })
    }

    /// Appends which hosts are selected from: the one that was named, or those that take new jobs.
    pub(crate) fn from(sql: &mut Sql, named: Option<Uuid>) {
        match named {
            Some(id) => sql.push(" FROM hosts WHERE hosts.id = ").bind(id),
            None => sql.push(" FROM hosts WHERE hosts.schedulable"),
        };
    }
}

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
pub(crate) fn choose<T>(
    services: &Services,
    named: Option<Uuid>,
    mut hosts: Vec<T>,
    candidate: impl Fn(&T) -> &Candidate,
) -> Result<T, UserError> {
    if named.is_some() {
        let host = hosts.pop().ok_or_else(not_found)?;
        takes_jobs(services, candidate(&host))?;
        return Ok(host);
    }
    best(services, hosts, candidate).ok_or_else(|| {
        let message =
            "no Docker host is online and taking jobs: try again later, or ask an administrator";
        unavailable(message.into())
    })
}

/// The same for a pull that is to leave a host: none where there is no other.
pub(crate) async fn elsewhere(
    tx: &impl ConnectionTrait,
    services: &Services,
    user_id: Uuid,
    reference: &str,
    than: Uuid,
) -> Result<Option<Candidate>, DbErr> {
    let mut sql = Sql::new(services.db.backend());
    sql.push("SELECT ");
    Candidate::columns(&mut sql, user_id, reference);
    Candidate::from(&mut sql, None);
    sql.push(" AND hosts.id <> ").bind(than);
    let rows = tx.query_all_raw(sql.statement()).await?;
    let read = rows
        .iter()
        .map(|row| Candidate::read(&mut Columns::of(row)));
    let hosts = read.collect::<Result<Vec<_>, _>>()?;
    Ok(best(services, hosts, |host| host))
}

fn not_found() -> UserError {
    UserError::new(
        UserErrorCode::HostNotFound,
        "hostId",
        "there is no such host: `hosts` lists them, and leaving hostId out lets Wharfinger choose one",
    )
}

fn takes_jobs(services: &Services, host: &Candidate) -> Result<(), UserError> {
    if !host.schedulable {
        return Err(unavailable(format!(
            "host {} takes no new jobs at the moment: choose another",
            host.name
        )));
    }
    if !seen_lately(services, host.last_seen_at) {
        return Err(unavailable(format!(
            "host {} is offline: choose another, or try again later",
            host.name
        )));
    }
    Ok(())
}

/// The hosts whose queues are paused.
pub(crate) async fn paused(db: &impl ConnectionTrait) -> Result<HashSet<Uuid>, DbErr> {
    let paused = paused_queue::Entity::find().all(db).await?;
    Ok(paused.into_iter().map(|queue| queue.id).collect())
}

/// The best of the hosts that are online.
fn best<T>(
    services: &Services,
    mut hosts: Vec<T>,
    candidate: impl Fn(&T) -> &Candidate,
) -> Option<T> {
    hosts.retain(|host| seen_lately(services, candidate(host).last_seen_at));
    // What is placed on a paused one waits: only where there is no other.
    if hosts.iter().any(|host| !candidate(host).paused) {
        hosts.retain(|host| !candidate(host).paused);
    }
    let least = services.settings.credits.minimum_to_pull.micro();
    let with_image = hosts.iter().any(|host| candidate(host).has_image);
    let any_room = with_image || hosts.iter().any(|host| has_room(candidate(host), least));
    let fits = |host: &Candidate| {
        if with_image {
            host.has_image
        } else {
            !any_room || has_room(host, least)
        }
    };
    hosts.retain(|host| fits(candidate(host)));
    hosts.into_iter().min_by(|a, b| {
        let (a, b) = (candidate(a), candidate(b));
        let by_work = by_work(a, b);
        let by_storage = Reverse(free_bytes(a)).cmp(&Reverse(free_bytes(b)));
        let order = if any_room {
            by_work.then(by_storage)
        } else {
            by_storage.then(by_work)
        };
        order.then(a.id.cmp(&b.id))
    })
}

/// Compares how long hosts have to work for what they have: their jobs over those that they run at a time, without dividing.
fn by_work(a: &Candidate, b: &Candidate) -> Ordering {
    let product =
        |a: &Candidate, b: &Candidate| i128::from(a.jobs) * i128::from(b.concurrency.max(1));
    product(a, b).cmp(&product(b, a))
}

fn unavailable(message: String) -> UserError {
    UserError::new(UserErrorCode::HostUnavailable, "hostId", message)
}

fn free_bytes(host: &Candidate) -> i64 {
    host.storage_total.unwrap_or(0) - host.storage_used.unwrap_or(0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of a disk needs no 53 bits"
)]
fn has_room(host: &Candidate, least: i64) -> bool {
    host.storage_total.is_none_or(|total| {
        let free = free_bytes(host);
        free >= least && free as f64 >= total as f64 * ENOUGH_FREE
    })
}

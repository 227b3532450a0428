//! Claims and leases: which worker runs a job, and until when.
//!
//! The attempt number is the fencing token: every claim raises it, and only the worker of the newest attempt can settle.

#[cfg(test)]
mod claim_tests;
mod known;
mod renewal;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, SelectStatement};
use sea_orm::{
    ColumnTrait, ConnectionTrait as _, DbErr, EntityTrait, FromQueryResult as _, QueryFilter,
    TryIntoModel,
};
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp, job, user};

pub(crate) use known::Known;
pub(crate) use renewal::{Renewal, prove, renew};

use crate::error::ServiceError;
use crate::infra::db::{Transaction, Tries, for_update, in_transaction};
use crate::job::order;
use crate::job::transition::{self, Outcome};
use crate::ledger::Account;
use crate::queue::Dispatch;
use crate::services::Services;

/// The column of a claim that says whether nothing goes before the job.
const IS_FREE: &str = "is_free";

/// A worker's right to run one attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) job_id: Uuid,
    pub(crate) attempt: i32,
    pub(crate) worker: String,
}

impl Lease {
    /// Whether the job is still that of this lease.
    pub(crate) fn is_of(&self, job: &job::Model) -> bool {
        job.state == JobState::Running
            && job.attempt == self.attempt
            && job.worker.as_deref() == Some(&self.worker)
    }
}

/// What came of trying to take a job.
pub(crate) enum Claim {
    /// The job runs, under this lease.
    Taken(Box<job::Model>, Lease, Known),
    /// The message is of an earlier attempt, or the job does not wait on this host, has an earlier job of its user on the same
    /// reference before it, or its queue is paused.
    NotClaimable,
    /// The job could be taken when it was read, and has changed since: another worker took it, or it was cancelled or moved.
    ChangedSince,
}

/// Takes a job of this host for a new attempt.
///
/// One statement takes it, if it is as it was when it was read: no transaction, because a pull waits for this.
pub(crate) async fn claim(
    services: &Services,
    host_id: Uuid,
    worker: &str,
    message: &Dispatch,
) -> Result<Claim, ServiceError> {
    let mut tries = Tries::begin();
    loop {
        match try_claim(services, host_id, worker, message).await {
            Err(error) if tries.again(&error).await => {}
            claimed => return claimed,
        }
    }
}

async fn try_claim(
    services: &Services,
    host_id: Uuid,
    worker: &str,
    message: &Dispatch,
) -> Result<Claim, ServiceError> {
    let now = services.clock.now();
    let claimable = claimable(host_id, message.job_id);
    let Some(row) = services.db.read().query_one(&claimable).await? else {
        return Ok(Claim::NotClaimable);
    };
    let (job, known) = (job::Model::from_query_result(&row, "")?, Known::of(&row)?);
    if !waits(&job, host_id, message, now) || !row.try_get::<bool>("", IS_FREE)? {
        return Ok(Claim::NotClaimable);
    }
    let (length, asked) = (services.settings.worker.lease, Instant::now());
    let new_lease = transition::NewLease {
        worker,
        lease_until: services.database_time(length),
    };
    // A claim that is forgotten in a crash of the database leaves the job to be claimed again: nothing was done for it
    // yet, as what is recorded before the engine is asked waits for the disk, and the claim with it.
    let claimed = transition::claimed(services.db.relaxed(), job, new_lease, now).await?;
    let Some(job) = claimed else {
        return Ok(Claim::ChangedSince);
    };
    let lease = Lease {
        job_id: job.id,
        attempt: job.attempt,
        worker: worker.to_owned(),
    };
    // The lease began with the statement, which may have waited for a lock of the row: renewed now, it is as long as any.
    let late = asked.elapsed() > length / 3;
    if late && matches!(renew(services, &lease, None).await, Ok(Renewal::Lost)) {
        return Ok(Claim::ChangedSince);
    }
    Ok(Claim::Taken(Box::new(job), lease, known))
}

/// Runs the attempt of a claimed job, and beside it notes the attempt and announces that the job runs. The attempt need not
/// wait for that: what ends the attempt notes it too where this did not.
pub(crate) async fn record_attempt_while_running<T>(
    services: &Services,
    job: &job::Model,
    attempt: impl Future<Output = T>,
) -> T {
    let now = services.clock.now();
    let ended = AtomicBool::new(false);
    let note = async {
        let noted = transition::begin_attempt(services.db.relaxed(), job, now).await;
        // That it runs is no news any more. Its end has noted it.
        if ended.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = noted {
            tracing::warn!(%error, "could not note an attempt: its end notes it");
        }
        // After the attempt is stored, so that watchers find it.
        services.announce(job, None);
    };
    let attempt = async {
        let outcome = attempt.await;
        ended.store(true, Ordering::Relaxed);
        outcome
    };
    tokio::join!(note, attempt).1
}

/// Whether the job waits on this host for the attempt that the message was sent for. It was due when the message was sent,
/// by the clock of the dispatcher, and is not judged again by this one. A message without a number may be older than the job's
/// wait.
fn waits(job: &job::Model, host_id: Uuid, message: &Dispatch, now: Timestamp) -> bool {
    let is_due = match message.push {
        Some(_) => job.attempt == message.attempt,
        None => job.run_after <= now,
    };
    let waits = matches!(job.state, JobState::Queued | JobState::Retrying);
    is_due && waits && job.host_id == Some(host_id)
}

/// The job of a message, with whether no earlier job of its user on the same reference has to end before it and its queue is not
/// paused. Such an earlier job may end after this, but none can appear: a job that is accepted later comes later. By its id
/// alone, so that no database takes another index: the rest is judged by what comes.
fn claimable(host_id: Uuid, job_id: Uuid) -> SelectStatement {
    let free = Expr::cust(order::NONE_BEFORE).and(Expr::not_exists(order::paused(host_id)));
    let mut select = Known::select(job::Entity::find_by_id(job_id));
    select.expr_as(free, Alias::new(IS_FREE));
    select
}

/// Stores the changes of a job whose row is locked. Returns it as it is then, without reading it again.
pub(crate) async fn save(tx: &Transaction, changed: job::ActiveModel) -> Result<job::Model, DbErr> {
    let job = changed.clone().try_into_model()?;
    job::Entity::update_many()
        .set(changed)
        .filter(job::Column::Id.eq(job.id))
        .exec(tx)
        .await?;
    Ok(job)
}

/// Locks the job of a lease. Returns none if the lease was lost.
pub(crate) async fn fenced(tx: &Transaction, lease: &Lease) -> Result<Option<job::Model>, DbErr> {
    let job = for_update(tx, job::Entity::find_by_id(lease.job_id))
        .one(tx)
        .await?;
    Ok(job.filter(|job| lease.is_of(job)))
}

/// Locks the job of a lease and its user's account, in one statement. Returns none if the lease was lost.
pub(crate) async fn fenced_with_account<'t>(
    tx: &'t Transaction,
    lease: &Lease,
    now: Timestamp,
) -> Result<Option<(job::Model, Account<'t>)>, DbErr> {
    let both = job::Entity::find_by_id(lease.job_id).find_both_related(user::Entity);
    let both = for_update(tx, both).one(tx).await?;
    let ours = both.filter(|(job, _)| lease.is_of(job));
    Ok(ours.map(|(job, user)| (job, Account::locked(tx, user, now))))
}

/// Ends the attempt of a lease; nothing happens when the lease was lost.
pub(crate) async fn end(
    services: &Services,
    lease: &Lease,
    outcome: Outcome,
) -> Result<Option<job::Model>, ServiceError> {
    let ended = in_transaction!(services.db, |tx| {
        match fenced(&tx, lease).await? {
            None => Ok::<_, ServiceError>(None),
            Some(job) => Ok(Some(
                transition::finish(&tx, services, job, outcome.clone()).await?,
            )),
        }
    })?;
    let Some((job, balance)) = ended else {
        return Ok(None);
    };
    services.announce(&job, balance);
    Ok(Some(job))
}

//! `retryDeadJobs`: redrives dead letters.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, JobErrorCode, JobState, Timestamp, job};

use crate::accounts::audit::Actor;
use crate::accounts::still_administrator;
use crate::attempt::Limits;
use crate::commands::retry_job::accept_again;
use crate::commands::set_queue_paused::of_queue;
use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::db::{for_update, in_transaction};
use crate::ledger::{Account, Balance};
use crate::services::Services;

/// Dead letters that one call runs again at most.
const MOST: usize = 1000;

/// Dead letters that one call looks at at most, each in a transaction of its own.
const LOOKED_AT: usize = 1000;

/// How long one call goes on.
const TIME: Duration = Duration::from_secs(10);

/// Refusals that one call names at most.
const NAMED: usize = 100;

/// How many are read at a time.
const PAGE: usize = 100;

/// A selection of dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadJobs {
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only those with this error.
    pub error_code: Option<JobErrorCode>,
    /// At most so many.
    pub limit: i32,
}

/// The result of running dead letters again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redriven {
    /// Those that wait again, oldest first.
    pub jobs: Vec<job::Model>,
    /// The first of those that could not be accepted again, and why. They stay DEAD.
    pub refused: Vec<(Uuid, UserError)>,
    /// How many more could not.
    pub more_refused: usize,
    /// The call ended before it had looked at all of them or run as many again as it was to, by its bounds or by an error
    /// that the log has: repeat it.
    pub unfinished: bool,
}

impl Redriven {
    fn refuse(&mut self, job_id: Uuid, error: UserError) {
        if self.refused.len() < NAMED {
            self.refused.push((job_id, error));
        } else {
            self.more_refused += 1;
        }
    }

    /// Ends early. The error is told where nothing was done before it: otherwise the caller has to hear what was.
    fn cut_short(&mut self, error: ServiceError) -> Result<(), ServiceError> {
        if self.jobs.is_empty() && self.refused.is_empty() {
            return Err(error);
        }
        tracing::warn!(%error, done = self.jobs.len(), "could not go on running dead letters again");
        self.unfinished = true;
        Ok(())
    }
}

/// Runs dead letters again, in the order in which the jobs were first accepted. Each is an acceptance of its own, with its own
/// transaction, hold and audit entry: one whose user cannot afford it is reported, and the others go on. Limits on what
/// users may ask for do not apply, as it is not they who ask. Discarded jobs are passed by.
///
/// A refusal does not use up `limit`. It is noted with the job, and the next call looks at the other dead letters first: so
/// calls of bounded work get through all of them, however many are refused.
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
    let letters = Letters::at(services, host_id, which.error_code).await?;
    let (mut redriven, mut looked_at, until) =
        (Redriven::default(), 0, tokio::time::Instant::now() + TIME);
    while redriven.jobs.len() < limit {
        let most = PAGE.min(limit - redriven.jobs.len());
        if looked_at >= LOOKED_AT || tokio::time::Instant::now() >= until {
            redriven.unfinished = true;
            break;
        }
        let page = match letters.next(services, most as u64).await {
            Ok(page) => page,
            Err(error) => {
                redriven.cut_short(error.into())?;
                break;
            }
        };
        if page.is_empty() {
            break;
        }
        looked_at += page.len();
        let at = letters.began.after(Duration::from_micros(looked_at as u64));
        if let Err(error) = redrive_page(services, actor, page, at, &mut redriven).await {
            redriven.cut_short(error)?;
            break;
        }
    }
    redriven.jobs.sort_unstable_by_key(|job| job.id);
    Ok(redriven)
}

/// Runs these again, and notes which of them were refused `at` this instant.
async fn redrive_page(
    services: &Services,
    actor: &Actor,
    page: Vec<Uuid>,
    at: Timestamp,
    redriven: &mut Redriven,
) -> Result<(), ServiceError> {
    let mut refused = Vec::new();
    let mut failed = Ok(());
    for id in page {
        match redrive(services, actor, id).await {
            Ok(Some((job, balance))) => {
                services.announce(&job, Some(balance));
                redriven.jobs.push(job);
            }
            Ok(None) => {}
            Err(ServiceError::Rejected(error)) => {
                refused.push(id);
                redriven.refuse(id, error);
            }
            Err(error) => {
                failed = Err(error);
                break;
            }
        }
    }
    if !refused.is_empty() {
        job::Entity::update_many()
            .set(job::ActiveModel {
                redrive_refused_at: Set(Some(at)),
                ..Default::default()
            })
            .filter(job::Column::Id.is_in(refused))
            .filter(job::Column::State.eq(JobState::Dead))
            .exec(services.db.write())
            .await?;
    }
    failed
}

/// The dead letters that one call is about.
struct Letters {
    host_id: Option<Uuid>,
    error_code: Option<JobErrorCode>,
    began: Timestamp,
}

impl Letters {
    /// As they are now.
    async fn at(
        services: &Services,
        host_id: Option<Uuid>,
        error_code: Option<JobErrorCode>,
    ) -> Result<Self, DbErr> {
        let last: Option<Option<Timestamp>> = job::Entity::find()
            .select_only()
            .column_as(job::Column::RedriveRefusedAt.max(), "last")
            .filter(job::Column::State.eq(JobState::Dead))
            .into_tuple()
            .one(services.db.read())
            .await?;
        // Later than every refusal, whatever other clocks say.
        let after = last
            .flatten()
            .map(|last| last.after(Duration::from_micros(1)));
        let now = services.clock.now();
        Ok(Self {
            host_id,
            error_code,
            began: after.map_or(now, |after| Ord::max(after, now)),
        })
    }

    /// The next ones: first those that were never refused, oldest first (`UUIDv7`s sort by age), then those that were, the
    /// longest ago first, each once in a call.
    async fn next(&self, services: &Services, most: u64) -> Result<Vec<Uuid>, DbErr> {
        let refused_at = job::Column::RedriveRefusedAt;
        let fresh = self.all().filter(refused_at.is_null());
        let fresh = page(fresh, services, most).await?;
        if !fresh.is_empty() {
            return Ok(fresh);
        }
        let refused = self.all().filter(refused_at.lt(self.began));
        page(refused.order_by_asc(refused_at), services, most).await
    }

    fn all(&self) -> Select<job::Entity> {
        let asked_for = Condition::all()
            .add_option(self.host_id.map(|id| job::Column::HostId.eq(id)))
            .add_option(self.error_code.map(|code| job::Column::ErrorCode.eq(code)));
        job::Entity::find()
            .select_only()
            .column(job::Column::Id)
            .filter(job::Column::State.eq(JobState::Dead))
            .filter(job::Column::DiscardedAt.is_null())
            .filter(asked_for)
    }
}

async fn page(
    dead: Select<job::Entity>,
    services: &Services,
    most: u64,
) -> Result<Vec<Uuid>, DbErr> {
    dead.order_by_asc(job::Column::Id)
        .limit(most)
        .into_tuple()
        .all(services.db.read())
        .await
}

/// Accepts one dead letter again. Returns the job and its owner's balance; none if it was accepted again or discarded since
/// it was read.
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
        actor
            .record_on_job(&tx, AuditAction::RetryDeadJobs, &job, now)
            .await?;
        let account = Account::lock(&tx, job.user_id, now).await?;
        Ok(Some(
            accept_again(&tx, services, job, account, Limits::Waived).await?,
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_hides_nothing_of_what_was_done_before_it() {
        let error = || ServiceError::Unavailable("the database went away");
        let mut nothing = Redriven::default();
        assert!(nothing.cut_short(error()).is_err());
        let mut some = Redriven::default();
        let refusal = UserError::whole(UserErrorCode::InsufficientCredits, "too few credits");
        some.refuse(Uuid::nil(), refusal);
        some.cut_short(error()).unwrap();
        assert!(some.unfinished);
        assert_eq!(some.refused.len(), 1);
    }
}

//! The data of the board. All of it is read from the jobs table, so that it agrees with the database and not with the
//! momentary content of a queue. Administrators only: callers check.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp, host, job};

use super::queues::by_host_and_state;
use crate::infra::db::Db;

/// Days of activity that are shown.
const DAYS: usize = 7;

const DAY: Duration = Duration::from_hours(24);

/// The state of a job in the board's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Waits for its first try or another: QUEUED, RETRYING.
    Waiting,
    /// A worker has it: RUNNING.
    Running,
    /// SUCCEEDED.
    Done,
    /// Ended without success, and nothing to do: FAILED, CANCELLED, and dead letters off the list.
    Ended,
    /// A dead letter: DEAD.
    Dead,
}

impl Standing {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::Done,
        Self::Ended,
        Self::Dead,
    ];

    /// Where a job stands.
    pub fn of(job: &job::Model) -> Self {
        Self::from_state(job.state, job.discarded_at.is_some())
    }

    fn from_state(state: JobState, discarded: bool) -> Self {
        match state {
            JobState::Queued | JobState::Retrying => Self::Waiting,
            JobState::Running => Self::Running,
            JobState::Succeeded => Self::Done,
            JobState::Dead if !discarded => Self::Dead,
            JobState::Failed | JobState::Cancelled | JobState::Dead => Self::Ended,
        }
    }

    fn condition(self) -> Expr {
        let (state, discarded) = (job::Column::State, job::Column::DiscardedAt);
        let dead = state.eq(JobState::Dead);
        match self {
            Self::Waiting => {
                let waits = state.is_in([JobState::Queued, JobState::Retrying]);
                job::Column::Live.eq(1).and(waits)
            }
            Self::Running => state.eq(JobState::Running),
            Self::Done => state.eq(JobState::Succeeded),
            Self::Dead => dead.and(discarded.is_null()),
            Self::Ended => {
                let ended = state.is_in([JobState::Failed, JobState::Cancelled]);
                ended.or(dead.and(discarded.is_not_null()))
            }
        }
    }
}

/// Jobs by where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(HashMap<Standing, u64>);

impl Counts {
    /// How many stand there.
    pub fn of(&self, standing: Standing) -> u64 {
        self.0.get(&standing).copied().unwrap_or(0)
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn add(&mut self, standing: Standing, more: u64) {
        *self.0.entry(standing).or_default() += more;
    }

    /// Both together.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        for (standing, count) in &other.0 {
            self.add(*standing, *count);
        }
        self
    }
}

/// Every host, by name: each has a queue and at least one worker.
pub async fn hosts(db: &Db) -> Result<Vec<host::Model>, DbErr> {
    host::Entity::find()
        .order_by_asc(host::Column::Name)
        .all(db.read())
        .await
}

/// The jobs of every host, or of one, by where they stand.
pub async fn counts(db: &Db, only: Option<Uuid>) -> Result<HashMap<Uuid, Counts>, DbErr> {
    let counted: Vec<(Option<Uuid>, JobState, i64, i64)> = by_host_and_state(of_host(only))
        .expr(Func::count(Expr::col(job::Column::DiscardedAt)))
        .into_tuple()
        .all(db.read())
        .await?;
    let mut found: HashMap<Uuid, Counts> = HashMap::new();
    for (host_id, state, all, discarded) in counted {
        let counts = found.entry(host_id.unwrap_or_default()).or_default();
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        counts.add(Standing::from_state(state, false), count(all - discarded));
        counts.add(Standing::from_state(state, true), count(discarded));
    }
    Ok(found)
}

/// How many jobs of each host ended on each of the last days, the oldest first.
pub async fn activity(db: &Db, now: Timestamp) -> Result<HashMap<Uuid, [usize; DAYS]>, DbErr> {
    let mut found: HashMap<Uuid, [usize; DAYS]> = HashMap::new();
    let mut until = now;
    for day in (0..DAYS).rev() {
        let from = until.before(DAY);
        let ended: Vec<(Option<Uuid>, i64)> = job::Entity::find()
            .select_only()
            .column(job::Column::HostId)
            .expr(Func::count(Expr::col(job::Column::Id)))
            .filter(job::Column::FinishedAt.gt(from))
            .filter(job::Column::FinishedAt.lte(until))
            .group_by(job::Column::HostId)
            .into_tuple()
            .all(db.read())
            .await?;
        for (host_id, count) in ended {
            let days = found.entry(host_id.unwrap_or_default()).or_default();
            days[day] = usize::try_from(count).unwrap_or(0);
        }
        until = from;
    }
    Ok(found)
}

/// Some jobs, newest first: of a host, and where they stand, if asked for.
pub async fn tasks(
    db: &Db,
    host_id: Option<Uuid>,
    standing: Option<Standing>,
    offset: u64,
    limit: u64,
) -> Result<Vec<job::Model>, DbErr> {
    job::Entity::find()
        .filter(of_host(host_id).add_option(standing.map(Standing::condition)))
        .order_by_desc(job::Column::Id)
        .offset(offset)
        .limit(limit)
        .all(db.read())
        .await
}

/// One job of a host.
pub async fn task(db: &Db, host_id: Uuid, id: Uuid) -> Result<Option<job::Model>, DbErr> {
    job::Entity::find_by_id(id)
        .filter(of_host(Some(host_id)))
        .one(db.read())
        .await
}

fn of_host(host_id: Option<Uuid>) -> Condition {
    Condition::all().add_option(host_id.map(|id| job::Column::HostId.eq(id)))
}

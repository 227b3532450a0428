//! The queues, one for each host, as the jobs table knows them.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp, host, job};

use crate::db::Db;

/// How full a host's queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// The host, after which the queue is named.
    pub host: String,
    /// Jobs that wait for their first try.
    pub queued: i64,
    /// Jobs that a worker has.
    pub running: i64,
    /// Jobs that wait for another try.
    pub retrying: i64,
    /// Dead letters that nobody took off the list.
    pub dead: i64,
    /// How long the oldest job has waited for its first try.
    pub oldest_queued: Option<Duration>,
    /// How long ago the job that runs and was accepted first was accepted.
    pub oldest_running: Option<Duration>,
    /// How long ago the job that waits for another try and was accepted first was accepted.
    pub oldest_retrying: Option<Duration>,
}

/// Every queue, by host, at the instant `now`.
pub async fn depths(db: &Db, now: Timestamp) -> Result<Vec<QueueDepth>, DbErr> {
    let hosts = host::Entity::find().all(db.read()).await?;
    let shown = Condition::any().add(job::Column::Live.eq(1)).add(
        Condition::all()
            .add(job::Column::State.eq(JobState::Dead))
            .add(job::Column::DiscardedAt.is_null()),
    );
    let counted: Vec<(Option<Uuid>, JobState, i64, Timestamp)> = job::Entity::find()
        .select_only()
        .column(job::Column::HostId)
        .column(job::Column::State)
        .expr(Func::count(Expr::col(job::Column::Id)))
        .expr(Func::min(Expr::col(job::Column::AcceptedAt)))
        .filter(shown)
        .group_by(job::Column::HostId)
        .group_by(job::Column::State)
        .into_tuple()
        .all(db.read())
        .await?;
    let counted: HashMap<(Uuid, JobState), (i64, Timestamp)> = counted
        .into_iter()
        .filter_map(|(host, state, count, oldest)| {
            host.map(|host| ((host, state), (count, oldest)))
        })
        .collect();
    Ok(hosts
        .into_iter()
        .map(|host| {
            let of = |state| counted.get(&(host.id, state)).copied();
            let count = |state| of(state).map_or(0, |(count, _)| count);
            let age = |state| of(state).map(|(_, oldest)| now.since(oldest));
            QueueDepth {
                queued: count(JobState::Queued),
                running: count(JobState::Running),
                retrying: count(JobState::Retrying),
                dead: count(JobState::Dead),
                oldest_queued: age(JobState::Queued),
                oldest_running: age(JobState::Running),
                oldest_retrying: age(JobState::Retrying),
                host: host.name,
            }
        })
        .collect())
}

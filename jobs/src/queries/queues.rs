//! The queues, one for each host, as the jobs table knows them.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::sea_query::{Expr, Func};
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
};
use uuid::Uuid;
use wharfinger_entity::{JobState, Timestamp, host, job};

use crate::hosts::placement::paused;
use crate::infra::db::Db;

/// How full a host's queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// The host, after which the queue is named.
    pub host: String,
    /// The host's id.
    pub host_id: Uuid,
    /// Whether its jobs are kept from starting.
    pub paused: bool,
    /// Jobs that wait for their first try.
    pub queued: i64,
    /// Jobs that a worker has.
    pub running: i64,
    /// Jobs that wait for another try.
    pub retrying: i64,
    /// Dead letters on the list.
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
    read(db, None, now).await
}

/// The queue of one host.
pub async fn depth(db: &Db, host_id: Uuid, now: Timestamp) -> Result<Option<QueueDepth>, DbErr> {
    Ok(read(db, Some(host_id), now).await?.pop())
}

async fn read(db: &Db, only: Option<Uuid>, now: Timestamp) -> Result<Vec<QueueDepth>, DbErr> {
    let hosts = host::Entity::find()
        .filter(Condition::all().add_option(only.map(|id| host::Column::Id.eq(id))))
        .order_by_asc(host::Column::Name)
        .all(db.read())
        .await?;
    let paused = paused(db.read()).await?;
    let counted = counted(db, only).await?;
    Ok(hosts
        .into_iter()
        .map(|host| {
            let of = |state| counted.get(&(host.id, state)).copied();
            let count = |state| of(state).map_or(0, |(count, _)| count);
            let age = |state| of(state).map(|(_, oldest)| now.since(oldest));
            QueueDepth {
                host_id: host.id,
                paused: paused.contains(&host.id),
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

/// How many jobs there are of each host and state, and when the oldest of them was accepted.
async fn counted(
    db: &Db,
    only: Option<Uuid>,
) -> Result<HashMap<(Uuid, JobState), (i64, Timestamp)>, DbErr> {
    let dead = job::Column::State.eq(JobState::Dead);
    let listed = dead.and(job::Column::DiscardedAt.is_null());
    let shown = Condition::all()
        .add_option(only.map(|id| job::Column::HostId.eq(id)))
        .add(job::Column::Live.eq(1).or(listed));
    let counted: Vec<(Option<Uuid>, JobState, i64, Timestamp)> = by_host_and_state(shown)
        .expr(Func::min(Expr::col(job::Column::AcceptedAt)))
        .into_tuple()
        .all(db.read())
        .await?;
    Ok(counted
        .into_iter()
        .filter_map(|(host, state, count, oldest)| {
            host.map(|host| ((host, state), (count, oldest)))
        })
        .collect())
}

/// The numbers of some jobs, by host and state.
pub(super) fn by_host_and_state(jobs: Condition) -> Select<job::Entity> {
    job::Entity::find()
        .select_only()
        .column(job::Column::HostId)
        .column(job::Column::State)
        .expr(Func::count(Expr::col(job::Column::Id)))
        .filter(jobs)
        .group_by(job::Column::HostId)
        .group_by(job::Column::State)
}

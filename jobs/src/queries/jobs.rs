//! Jobs and their attempts as users see them.

use sea_orm::sea_query::Order;
use sea_orm::{
    ColumnTrait, Condition, DbBackend, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select,
};
use uuid::Uuid;
use wharfinger_entity::{JobKind, JobState, Timestamp, job, job_attempt};

use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use super::{Viewer, with_ids};
use crate::infra::db::Db;

/// How many changed jobs are told of at once.
const CHANGED_AT_MOST: u64 = 1_000;

/// Which jobs.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// In one of these states.
    pub states: Option<Vec<JobState>>,
    /// Of one of these kinds.
    pub kinds: Option<Vec<JobKind>>,
    /// On this host.
    pub host_id: Option<Uuid>,
    /// Of this user.
    pub user_id: Option<Uuid>,
}

/// A page of the viewer's jobs, newest first; of every user's for an administrator.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    filter: &JobFilter,
    page: &PageArgs,
) -> Result<Page<job::Model>, ListError> {
    let ordering = Ordering {
        by: By::Id,
        descending: true,
    };
    let request = page.check()?;
    let jobs = owned(db.backend(), viewer, filter, request.order(ordering));
    // With a filter another index may be the better one.
    let all = filter.states.is_none() && filter.kinds.is_none() && filter.host_id.is_none();
    let pool = if all { db.planned() } else { db.read() };
    let position = |job: &job::Model| Position::id(job.id);
    request.read(jobs, ordering, pool, position).await
}

/// How many there are of them in all.
pub async fn count(db: &Db, viewer: Viewer, filter: &JobFilter) -> Result<u64, DbErr> {
    job::Entity::find()
        .filter(matching(viewer, filter))
        .count(db.read())
        .await
}

/// Those of these jobs that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<job::Model>, DbErr> {
    let visible = viewer.rows::<job::Entity>(job::Column::UserId);
    with_ids(db, visible, job::Column::Id, ids).await
}

/// The jobs that the viewer may see and that may have changed at an instant or since: those that ended since, and all that
/// have not ended. The oldest first; the newest ones where there are very many.
pub async fn changed_since(
    db: &Db,
    viewer: Viewer,
    since: Timestamp,
) -> Result<Vec<job::Model>, DbErr> {
    let changed = Condition::any()
        .add(job::Column::FinishedAt.gte(since))
        .add(job::Column::Live.eq(1));
    let mut jobs = viewer
        .rows::<job::Entity>(job::Column::UserId)
        .filter(changed)
        .order_by_desc(job::Column::Id)
        .limit(CHANGED_AT_MOST)
        .all(db.read())
        .await?;
    jobs.reverse();
    Ok(jobs)
}

/// The attempts of those of these jobs that the viewer may see, in order.
pub async fn attempts(
    db: &Db,
    viewer: Viewer,
    job_ids: &[Uuid],
) -> Result<Vec<job_attempt::Model>, DbErr> {
    let visible = viewer
        .rows::<job::Entity>(job::Column::UserId)
        .select_only()
        .column(job::Column::Id)
        .filter(job::Column::Id.is_in(job_ids.iter().copied()))
        .into_query();
    job_attempt::Entity::find()
        .filter(job_attempt::Column::JobId.in_subquery(visible))
        .order_by_asc(job_attempt::Column::JobId)
        .order_by_asc(job_attempt::Column::Number)
        .all(db.read())
        .await
}

/// The jobs of a page, as a range of an index that ends with the id.
fn owned(
    backend: DbBackend,
    viewer: Viewer,
    filter: &JobFilter,
    order: Order,
) -> Select<job::Entity> {
    let (jobs, user_id) = (job::Entity::find(), job::Column::UserId);
    let owners = owners(viewer, filter);
    // Given an equality, PostgreSQL may read all users' jobs by their id until enough are of the owner, and MariaDB does not
    // begin at a cursor (see `Sql::within`): bounds leave the index of the owner alone.
    if backend == DbBackend::Sqlite || owners.is_empty() {
        return jobs.filter(matching(viewer, filter));
    }
    let mut jobs = jobs.filter(like(filter)).order_by(user_id, order);
    for owner in owners {
        jobs = jobs.filter(user_id.gte(owner)).filter(user_id.lte(owner));
    }
    jobs
}

fn matching(viewer: Viewer, filter: &JobFilter) -> Condition {
    let mut matching = like(filter);
    for owner in owners(viewer, filter) {
        matching = matching.add(job::Column::UserId.eq(owner));
    }
    matching
}

/// Who must be the owner of what is listed.
fn owners(viewer: Viewer, filter: &JobFilter) -> Vec<Uuid> {
    [viewer.owner(), filter.user_id]
        .into_iter()
        .flatten()
        .collect()
}

/// All of a filter but the owner.
fn like(filter: &JobFilter) -> Condition {
    let (states, kinds) = (filter.states.clone(), filter.kinds.clone());
    Condition::all()
        .add_option(states.map(|states| job::Column::State.is_in(states)))
        .add_option(kinds.map(|kinds| job::Column::Kind.is_in(kinds)))
        .add_option(filter.host_id.map(|id| job::Column::HostId.eq(id)))
}

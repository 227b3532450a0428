//! Docker hosts as users see them.

use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, PaginatorTrait};
use uuid::Uuid;
use wharfinger_entity::{JobState, host, job};

use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use super::queues::by_host_and_state;
use super::with_ids;
use crate::infra::db::Db;

/// A page of the hosts, by name.
pub async fn list(db: &Db, page: &PageArgs) -> Result<Page<host::Model>, ListError> {
    let ordering = Ordering {
        by: By::Text("name"),
        descending: false,
    };
    let (request, hosts) = (page.check()?, host::Entity::find());
    let position = |host: &host::Model| Position::text(host.name.clone(), host.id);
    request.read(hosts, ordering, db.read(), position).await
}

/// How many hosts there are.
pub async fn count(db: &Db) -> Result<u64, DbErr> {
    host::Entity::find().count(db.read()).await
}

/// These hosts.
pub async fn by_ids(db: &Db, ids: &[Uuid]) -> Result<Vec<host::Model>, DbErr> {
    with_ids(db, host::Entity::find(), host::Column::Id, ids).await
}

/// The live jobs of these hosts, counted by state.
pub async fn live_jobs(db: &Db, ids: &[Uuid]) -> Result<Vec<(Uuid, JobState, i64)>, DbErr> {
    let live = Condition::all()
        .add(job::Column::HostId.is_in(ids.iter().copied()))
        .add(job::Column::Live.eq(1));
    by_host_and_state(live).into_tuple().all(db.read()).await
}

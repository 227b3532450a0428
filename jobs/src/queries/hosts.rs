//! Docker hosts as users see them.

use sea_orm::sea_query::{Expr, Func};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{JobState, host, job};

use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use crate::infra::db::Db;

/// A page of the hosts, by name.
pub async fn list(db: &Db, page: &PageArgs) -> Result<Page<host::Model>, ListError> {
    let request = page.check()?;
    let column = |column| Expr::col((host::Entity, column));
    let ordering = Ordering {
        by: By::Text(column(host::Column::Name)),
        id: column(host::Column::Id),
        descending: false,
    };
    let query = request.restrict(host::Entity::find(), &ordering)?;
    Ok(request.cut(query.all(db.read()).await?, |host| {
        Position::text(host.name.clone(), host.id)
    }))
}

/// How many hosts there are.
pub async fn count(db: &Db) -> Result<u64, DbErr> {
    host::Entity::find().count(db.read()).await
}

/// These hosts.
pub async fn by_ids(db: &Db, ids: &[Uuid]) -> Result<Vec<host::Model>, DbErr> {
    host::Entity::find()
        .filter(host::Column::Id.is_in(ids.iter().copied()))
        .all(db.read())
        .await
}

/// The live jobs of these hosts, counted by state.
pub async fn live_jobs(db: &Db, ids: &[Uuid]) -> Result<Vec<(Uuid, JobState, i64)>, DbErr> {
    job::Entity::find()
        .select_only()
        .column(job::Column::HostId)
        .column(job::Column::State)
        .expr(Func::count(Expr::col(job::Column::Id)))
        .filter(job::Column::HostId.is_in(ids.iter().copied()))
        .filter(job::Column::Live.eq(1))
        .group_by(job::Column::HostId)
        .group_by(job::Column::State)
        .into_tuple()
        .all(db.read())
        .await
}

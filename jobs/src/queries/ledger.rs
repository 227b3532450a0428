//! A user's ledger.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::ledger_entry;

use super::Viewer;
use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use crate::infra::db::Db;

/// The entries that the viewer may see: their own, or, for an administrator, any.
fn visible(viewer: Viewer) -> Select<ledger_entry::Entity> {
    match viewer.owner() {
        None => ledger_entry::Entity::find(),
        Some(owner) => ledger_entry::Entity::find().filter(ledger_entry::Column::UserId.eq(owner)),
    }
}

/// A page of a user's ledger as far as the viewer may see it, newest first.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    user_id: Uuid,
    page: &PageArgs,
) -> Result<Page<ledger_entry::Model>, ListError> {
    let request = page.check()?;
    let column = |column| Expr::col((ledger_entry::Entity, column));
    let ordering = Ordering {
        by: By::Number(column(ledger_entry::Column::Number)),
        id: column(ledger_entry::Column::Id),
        descending: true,
    };
    let entries = visible(viewer).filter(ledger_entry::Column::UserId.eq(user_id));
    let query = request.restrict(entries, &ordering)?;
    Ok(request.cut(query.all(db.read()).await?, |entry| {
        Position::number(entry.number, entry.id)
    }))
}

/// How many entries there are of it in all.
pub async fn count(db: &Db, viewer: Viewer, user_id: Uuid) -> Result<u64, DbErr> {
    visible(viewer)
        .filter(ledger_entry::Column::UserId.eq(user_id))
        .count(db.read())
        .await
}

/// Those of these entries that the viewer may see.
pub async fn by_ids(
    db: &Db,
    viewer: Viewer,
    ids: &[Uuid],
) -> Result<Vec<ledger_entry::Model>, DbErr> {
    visible(viewer)
        .filter(ledger_entry::Column::Id.is_in(ids.iter().copied()))
        .all(db.read())
        .await
}

//! A user's ledger.

use sea_orm::{ColumnTrait, DbErr, PaginatorTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::ledger_entry::{Column, Entity, Model};

use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use super::{Viewer, with_ids};
use crate::infra::db::Db;

fn visible(viewer: Viewer) -> Select<Entity> {
    viewer.rows(Column::UserId)
}

/// A page of a user's ledger as far as the viewer may see it, newest first.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    user_id: Uuid,
    page: &PageArgs,
) -> Result<Page<Model>, ListError> {
    let ordering = Ordering {
        by: By::Number("number"),
        descending: true,
    };
    let entries = visible(viewer).filter(Column::UserId.eq(user_id));
    let position = |entry: &Model| Position::number(entry.number, entry.id);
    let request = page.check()?;
    request.read(entries, ordering, db.read(), position).await
}

/// How many entries there are of it in all.
pub async fn count(db: &Db, viewer: Viewer, user_id: Uuid) -> Result<u64, DbErr> {
    visible(viewer)
        .filter(Column::UserId.eq(user_id))
        .count(db.read())
        .await
}

/// Those of these entries that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    with_ids(db, visible(viewer), Column::Id, ids).await
}

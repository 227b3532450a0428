//! Tokens, without their secrets.

use sea_orm::{ColumnTrait, DbErr, QueryFilter, QueryOrder, Select};
use uuid::Uuid;
use wharfinger_entity::api_token::{Column, Entity, Model};

use super::{Viewer, with_ids};
use crate::infra::db::Db;

/// The tokens of these users that the viewer may see, newest first: their own, or, for an administrator, any. There are
/// at most as many for each user as one may have.
pub async fn of_users(db: &Db, viewer: Viewer, users: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    visible(viewer)
        .filter(Column::UserId.is_in(users.iter().copied()))
        .order_by_desc(Column::Id)
        .all(db.read())
        .await
}

/// Those of these tokens that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    with_ids(db, visible(viewer), Column::Id, ids).await
}

fn visible(viewer: Viewer) -> Select<Entity> {
    viewer.rows(Column::UserId)
}

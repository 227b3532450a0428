//! Tokens, without their secrets.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, Select};
use uuid::Uuid;
use wharfinger_entity::api_token;

use super::Viewer;
use crate::infra::db::Db;

/// The tokens of these users that the viewer may see, newest first: their own, or, for an administrator, any. There are
/// at most as many for each user as one may have.
pub async fn of_users(
    db: &Db,
    viewer: Viewer,
    users: &[Uuid],
) -> Result<Vec<api_token::Model>, DbErr> {
    visible(viewer)
        .filter(api_token::Column::UserId.is_in(users.iter().copied()))
        .order_by_desc(api_token::Column::Id)
        .all(db.read())
        .await
}

/// Those of these tokens that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<api_token::Model>, DbErr> {
    visible(viewer)
        .filter(api_token::Column::Id.is_in(ids.iter().copied()))
        .all(db.read())
        .await
}

fn visible(viewer: Viewer) -> Select<api_token::Entity> {
    match viewer.owner() {
        None => api_token::Entity::find(),
        Some(owner) => api_token::Entity::find().filter(api_token::Column::UserId.eq(owner)),
    }
}

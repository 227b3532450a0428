//! Users as they see themselves, and as administrators see them.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::user;

use super::Viewer;
use crate::db::Db;

/// Those of these users that the viewer may see: themselves, or, for an administrator, any.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<user::Model>, DbErr> {
    let visible = ids
        .iter()
        .copied()
        .filter(|id| viewer.admin || *id == viewer.user_id);
    user::Entity::find()
        .filter(user::Column::Id.is_in(visible))
        .all(db.read())
        .await
}

//! Logins at registries as their users see them, and administrators: where and under which name, never the secret.

use sea_orm::{ColumnTrait, DbErr, QueryFilter, QueryOrder, Select};
use uuid::Uuid;
use wharfinger_entity::registry_credential::{Column, Entity, Model};

use super::{Viewer, with_ids};
use crate::infra::db::Db;

fn visible(viewer: Viewer) -> Select<Entity> {
    viewer.rows(Column::UserId)
}

/// The logins of a user as far as the viewer may see them, by registry.
pub async fn of_user(db: &Db, viewer: Viewer, user_id: Uuid) -> Result<Vec<Model>, DbErr> {
    visible(viewer)
        .filter(Column::UserId.eq(user_id))
        .order_by_asc(Column::Registry)
        .all(db.read())
        .await
}

/// Those of these logins that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    with_ids(db, visible(viewer), Column::Id, ids).await
}

//! Logins at registries as their users see them, and administrators: where and under which name, never the secret.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};
use uuid::Uuid;
use wharfinger_entity::registry_credential;

use super::Viewer;
use crate::db::Db;

/// The logins of a user, by registry: none of somebody else's, unless an administrator asks.
pub async fn of_user(
    db: &Db,
    viewer: Viewer,
    user_id: Uuid,
) -> Result<Vec<registry_credential::Model>, DbErr> {
    if viewer.owner().is_some_and(|owner| owner != user_id) {
        return Ok(Vec::new());
    }
    registry_credential::Entity::find()
        .filter(registry_credential::Column::UserId.eq(user_id))
        .order_by_asc(registry_credential::Column::Registry)
        .all(db.read())
        .await
}

/// Those of these logins that the viewer may see.
pub async fn by_ids(
    db: &Db,
    viewer: Viewer,
    ids: &[Uuid],
) -> Result<Vec<registry_credential::Model>, DbErr> {
    let mut query = registry_credential::Entity::find()
        .filter(registry_credential::Column::Id.is_in(ids.iter().copied()));
    if let Some(owner) = viewer.owner() {
        query = query.filter(registry_credential::Column::UserId.eq(owner));
    }
    query.all(db.read()).await
}

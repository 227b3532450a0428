//! Logins at registries as their users see them, and administrators: where and under which name, never the secret.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, Select};
use uuid::Uuid;
use wharfinger_entity::registry_credential;

use super::Viewer;
use crate::infra::db::Db;

/// The logins that the viewer may see: their own, or, for an administrator, any.
fn visible(viewer: Viewer) -> Select<registry_credential::Entity> {
    match viewer.owner() {
        None => registry_credential::Entity::find(),
        Some(owner) => registry_credential::Entity::find()
            .filter(registry_credential::Column::UserId.eq(owner)),
    }
}

/// The logins of a user as far as the viewer may see them, by registry.
pub async fn of_user(
    db: &Db,
    viewer: Viewer,
    user_id: Uuid,
) -> Result<Vec<registry_credential::Model>, DbErr> {
    visible(viewer)
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
    visible(viewer)
        .filter(registry_credential::Column::Id.is_in(ids.iter().copied()))
        .all(db.read())
        .await
}

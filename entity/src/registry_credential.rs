//! Table `registry_credentials`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A user's login at a registry. What it is worth is encrypted; the key is in no database.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "registry_credentials")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// Host, with a port where the user gave one; Docker Hub is docker.io under all its names.
    pub registry: String,
    /// User name at the registry.
    pub username: String,
    /// Which key it was encrypted with.
    pub key_id: String,
    /// The secret, encrypted, as text.
    #[sea_orm(column_type = "Text")]
    pub sealed: String,
    /// When it was saved, or replaced by another.
    pub created_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `user_id`.
    #[sea_orm(
        belongs_to = "super::user::Entity",
        from = "Column::UserId",
        to = "super::user::Column::Id"
    )]
    User,
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

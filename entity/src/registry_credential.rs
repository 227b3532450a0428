//! Table `registry_credentials`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A user's login at a registry. Its secret is encrypted, with a key that is not in the database.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "registry_credentials")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The user.
    pub user_id: Uuid,
    /// The registry's canonical name; `docker.io` for Docker Hub.
    pub registry: String,
    /// The user name at the registry.
    pub username: String,
    /// The id of the key that encrypted it.
    pub key_id: String,
    /// The secret, encrypted, as text.
    #[sea_orm(column_type = "Text")]
    pub sealed: String,
    /// The time at which it was last saved.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

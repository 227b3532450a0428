//! Table `blob_origins`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A layer or config on a host's engine, now or after a pull, and a repository that it came or will come from.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "blob_origins")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The host.
    pub host_id: Uuid,
    /// The digest of the blob as the registry stores it: compressed.
    pub digest: String,
    /// The canonical name of the registry.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// Whether the repository has delivered every byte. False while a pull from there runs, and after one that failed.
    pub delivered: bool,
    /// Whether it delivered them without a login.
    pub anonymous: bool,
    /// The digest of a layer's uncompressed content, once known.
    pub diff_id: Option<String>,
    /// The time at which a pull first named it.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

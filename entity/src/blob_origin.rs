//! Table `blob_origins`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A layer or config that a host's engine has, or may have one day, and a repository that it came from or is to come from.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "blob_origins")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Where.
    pub host_id: Uuid,
    /// Of the blob as the registry stores it: compressed.
    pub digest: String,
    /// The registry, by its one name.
    pub registry: String,
    /// The repository there.
    pub repository: String,
    /// True once the repository has delivered every byte. False while a pull from there is under way, or came to nothing.
    pub delivered: bool,
    /// Whether it has delivered them without a login.
    pub anonymous: bool,
    /// Of a layer: the digest of its uncompressed content, once known.
    pub diff_id: Option<String>,
    /// When a pull first named it.
    pub created_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `host_id`.
    #[sea_orm(
        belongs_to = "super::host::Entity",
        from = "Column::HostId",
        to = "super::host::Column::Id"
    )]
    Host,
}

impl Related<super::host::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Host.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

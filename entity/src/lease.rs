//! Table `leases`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A fleet lease: work that one process of the fleet does at a time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "leases")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The name of the work: unique.
    pub name: String,
    /// The process that does it.
    pub holder: Uuid,
    /// The time at which the lease ends.
    pub expires_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

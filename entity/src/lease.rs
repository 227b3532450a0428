//! Table `leases`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// Work that one process of the fleet does at a time.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "leases")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The work: unique.
    pub name: String,
    /// The process that does it.
    pub holder: Uuid,
    /// Until when that process is trusted to be alive.
    pub expires_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

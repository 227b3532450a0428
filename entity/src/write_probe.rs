//! Table `write_probes`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// That a process could write to the database. Each process has a row of its own: none waits for another's.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "write_probes")]
pub struct Model {
    /// The process.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// When it last wrote this row.
    pub written_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

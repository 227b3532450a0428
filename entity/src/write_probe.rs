//! Table `write_probes`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// The last successful test write of a process. Each process has its own row, so none waits for another.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "write_probes")]
pub struct Model {
    /// The process.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The time of the write.
    pub written_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

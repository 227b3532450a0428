//! Table `paused_queues`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A paused queue. Other queues have no row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "paused_queues")]
pub struct Model {
    /// The host of the queue.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The time of the pause.
    pub paused_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

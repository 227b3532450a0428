//! Table `paused_queues`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A queue whose jobs are not started. There is no row for one that is not paused.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "paused_queues")]
pub struct Model {
    /// The host whose queue it is.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Since when.
    pub paused_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

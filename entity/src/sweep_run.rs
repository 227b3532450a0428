//! Table `sweep_runs`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A scheduled run of the clean-up. There is one row for each instant, whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sweep_runs")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// When it was due: unique.
    pub scheduled_at: Timestamp,
    /// The schedule, as it is written in the settings.
    pub schedule: String,
    /// The process that runs it; none where the instant was only noted, because the schedule was new then.
    pub runner: Option<Uuid>,
    /// Until when that process is trusted to be alive; none once it is over.
    pub lease_until: Option<Timestamp>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
    /// How many removals it asked for.
    pub jobs: i64,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

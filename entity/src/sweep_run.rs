//! Table `sweep_runs`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A scheduled sweep. There is one row for each instant.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "sweep_runs")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The instant at which it was due: unique.
    pub scheduled_at: Timestamp,
    /// The schedule as written in the settings.
    pub schedule: String,
    /// The process that runs it; none if the instant was only noted, because the schedule was new.
    pub runner: Option<Uuid>,
    /// Not used any more: a sweep goes on by its rows in `host_sweeps`.
    pub lease_until: Option<Timestamp>,
    /// The time of its start.
    pub started_at: Timestamp,
    /// The time of its end.
    pub finished_at: Option<Timestamp>,
    /// The number of removals that it made.
    pub jobs: i64,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

//! Table `hosts`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A Docker host.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hosts")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Unique name; also the name of its queue.
    pub name: String,
    /// Whether new jobs may be placed on it.
    pub schedulable: bool,
    /// The version of its engine.
    pub engine_version: Option<String>,
    /// The operating system and architecture, as `linux/amd64`.
    pub platform: Option<String>,
    /// The labels: a JSON object of strings.
    pub labels: Json,
    /// The used bytes of the file system with the engine's images.
    pub storage_used: Option<i64>,
    /// The bytes of that file system.
    pub storage_total: Option<i64>,
    /// The number of jobs that its workers run at a time.
    pub concurrency: i32,
    /// The time at which its first worker joined.
    pub created_at: Timestamp,
    /// The time of the last heartbeat: a worker's engine answered.
    pub last_seen_at: Option<Timestamp>,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

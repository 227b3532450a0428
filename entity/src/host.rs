//! Table `hosts`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A Docker host.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "hosts")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Unique name; also the name of its queue.
    pub name: String,
    /// Whether new jobs may be placed on it.
    pub schedulable: bool,
    /// Version of its engine.
    pub engine_version: Option<String>,
    /// Operating system and architecture, as `linux/amd64`.
    pub platform: Option<String>,
    /// Labels: an object of strings.
    pub labels: Json,
    /// Bytes used on the file system of the engine's images.
    pub storage_used: Option<i64>,
    /// Bytes of that file system.
    pub storage_total: Option<i64>,
    /// Jobs that its workers run at a time.
    pub concurrency: i32,
    /// When it first joined.
    pub created_at: Timestamp,
    /// When a worker last reported that the engine answers.
    pub last_seen_at: Option<Timestamp>,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

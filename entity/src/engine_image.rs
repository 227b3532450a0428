//! Table `engine_images`.

use sea_orm::entity::prelude::*;

use crate::{EngineImageStatus, ExposedPorts, Timestamp};

/// An image id on a host's engine: what everybody who holds it shares.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "engine_images")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Where.
    pub host_id: Uuid,
    /// The engine's image id, `sha256:…`.
    pub image_id: String,
    /// What is known of it.
    pub status: EngineImageStatus,
    /// Whether Wharfinger brought it: what the engine had before is never removed.
    pub brought: bool,
    /// Unpacked bytes; 0 until the engine told.
    pub size: i64,
    /// As `linux/amd64`.
    pub platform: String,
    /// As the image declares them, lowest first.
    #[sea_orm(column_type = "Json")]
    pub exposed_ports: ExposedPorts,
    /// Grows with every change; a settle that looked at the engine checks that nothing happened since.
    pub version: i64,
    /// Who is removing or reconciling it at this moment.
    pub lock_token: Option<Uuid>,
    /// The worker that has the lock, where its process may be gone without harm: while it asks the engine for a change, none.
    pub lock_holder: Option<String>,
    /// Until when that lock counts.
    pub lock_until: Option<Timestamp>,
    /// When it was first heard of.
    pub created_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `host_id`.
    #[sea_orm(
        belongs_to = "super::host::Entity",
        from = "Column::HostId",
        to = "super::host::Column::Id"
    )]
    Host,
}

impl Related<super::host::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Host.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

//! Table `engine_images`.

use sea_orm::entity::prelude::*;

use crate::{EngineImageStatus, ExposedPorts, Timestamp};

/// An image id on a host's engine. All holders of the image share it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "engine_images")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The host.
    pub host_id: Uuid,
    /// The engine's image id, `sha256:…`.
    pub image_id: String,
    /// Expected, present or gone.
    pub status: EngineImageStatus,
    /// Whether Wharfinger brought it. An image that the engine had before is never removed.
    pub brought: bool,
    /// Unpacked bytes; 0 until known.
    pub size: i64,
    /// The platform, as `linux/amd64`.
    pub platform: String,
    /// The ports that the image declares, lowest first.
    #[sea_orm(column_type = "Json")]
    pub exposed_ports: ExposedPorts,
    /// A number that grows with every change. A settle that looked at the engine checks that it is still the same.
    pub version: i64,
    /// The token of the image lock, while a removal or the reconciler holds it.
    pub lock_token: Option<Uuid>,
    /// The worker that holds the lock; none while it asks the engine for a change, so that the lock outlives the worker.
    pub lock_holder: Option<String>,
    /// The time at which the lock ends.
    pub lock_until: Option<Timestamp>,
    /// The time at which it was first seen.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

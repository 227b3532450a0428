//! Table `images_in_use`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// An image that a container on its host uses, as a worker last saw it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "images_in_use")]
pub struct Model {
    /// The engine's image.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The host.
    pub host_id: Uuid,
    /// The time at which it was first seen in use.
    pub seen_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

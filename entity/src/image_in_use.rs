//! Table `images_in_use`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// An image that a container of its host was made of when a worker last looked.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "images_in_use")]
pub struct Model {
    /// The engine's image.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Where.
    pub host_id: Uuid,
    /// Since when it has been seen so.
    pub seen_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

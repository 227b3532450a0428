//! Table `images`.

use sea_orm::entity::prelude::*;

use crate::{Credits, ImageState, ImageVisibility, Timestamp};

/// A holding: a reference on a host that one user has, or that all may use if it is public.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "images")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The holder; none for a public image.
    pub user_id: Option<Uuid>,
    /// The holder, or the nil UUID for a public image: part of a unique key, which NULL would defeat.
    pub holder: Uuid,
    /// The host.
    pub host_id: Uuid,
    /// The image that it means on the engine.
    pub engine_image_id: Uuid,
    /// The fully qualified reference.
    pub reference: String,
    /// The manifest digest that the reference meant when it was pulled.
    pub digest: Option<String>,
    /// Private or public.
    pub visibility: ImageVisibility,
    /// Held, released or lost.
    pub state: ImageState,
    /// The credits that the holder was charged for it.
    pub charge: Credits,
    /// The size of the engine's image, in unpacked bytes: kept here too, so that an index gives the order.
    pub size: i64,
    /// The time of the pull.
    pub pulled_at: Timestamp,
    /// The time of the removal or loss.
    pub released_at: Option<Timestamp>,
    /// 1 while HELD, else NULL.
    pub live: Option<i16>,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `engine_image_id`.
    #[sea_orm(
        belongs_to = "super::engine_image::Entity",
        from = "Column::EngineImageId",
        to = "super::engine_image::Column::Id"
    )]
    EngineImage,
}

impl Related<super::engine_image::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::EngineImage.def()
    }
}

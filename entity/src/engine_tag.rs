//! Table `engine_tags`.

use sea_orm::entity::prelude::*;

/// A reference on a host's engine, and whether Wharfinger set it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "engine_tags")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The host.
    pub host_id: Uuid,
    /// The fully qualified reference.
    pub reference: String,
    /// The image that it means.
    pub engine_image_id: Uuid,
    /// Whether Wharfinger set it. False if the engine had this reference for this image before.
    pub brought: bool,
    /// The image id that the reference meant before a pull, which is not settled yet, set it on this image; empty if it meant
    /// none. The tag is set back to it if the pull fails. None if there is nothing to set back.
    #[sea_orm(column_name = "displaced")]
    pub previous_image_id: Option<String>,
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

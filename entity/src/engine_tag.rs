//! Table `engine_tags`.

use sea_orm::entity::prelude::*;

/// A reference on a host's engine, and whether Wharfinger set it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "engine_tags")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Where.
    pub host_id: Uuid,
    /// Fully qualified.
    pub reference: String,
    /// What it means.
    pub engine_image_id: Uuid,
    /// False when the engine had this reference for this image before Wharfinger did anything.
    pub brought: bool,
    /// The image id that the reference meant before a pull that is not settled may have set it on this image, empty when it
    /// meant none: there the tag goes back should the pull come to nothing. None when there is nothing to put back.
    pub displaced: Option<String>,
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
    /// By `engine_image_id`.
    #[sea_orm(
        belongs_to = "super::engine_image::Entity",
        from = "Column::EngineImageId",
        to = "super::engine_image::Column::Id"
    )]
    EngineImage,
}

impl Related<super::host::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Host.def()
    }
}

impl Related<super::engine_image::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::EngineImage.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

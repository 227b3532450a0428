//! Table `payments`.

use sea_orm::entity::prelude::*;

use crate::Credits;

/// A user's payment for one image id on one host: a CHARGE makes it, its REFUND ends it.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "payments")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The user.
    pub user_id: Uuid,
    /// The image.
    pub engine_image_id: Uuid,
    /// The credits: a refund gives back exactly these.
    pub amount: Credits,
    /// 1 until refunded, else NULL.
    pub live: Option<i16>,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

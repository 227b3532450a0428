//! Table `host_sweeps`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A sweep of one host that was asked for and is not over. The row goes when it is.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "host_sweeps")]
pub struct Model {
    /// Id. Only images that were pulled before it was made are swept.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Where.
    pub host_id: Uuid,
    /// The last holding that was looked at; none before the first.
    pub last_image_id: Option<Uuid>,
    /// Until when the gateway that was asked does it.
    pub reserved_until: Option<Timestamp>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! Table `host_sweeps`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A sweep of one host that is under way. The row is deleted at its end.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "host_sweeps")]
pub struct Model {
    /// Id. Only images that were pulled before it was made are swept.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The host.
    pub host_id: Uuid,
    /// The last holding that the sweep passed; none before the first.
    pub last_image_id: Option<Uuid>,
    /// The time until which the gateway that began it sweeps; then the maintenance goes on.
    pub reserved_until: Option<Timestamp>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

//! Table `job_retries`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A further acceptance of a pull. It counts for its user's limits, and is kept for as long as it counts.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "job_retries")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The owner of the job.
    pub user_id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// The time of the acceptance.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

//! Table `job_retries`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A further acceptance of a pull, which counts for its user's limits as the first one did. Kept for as long as it counts.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job_retries")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose job.
    pub user_id: Uuid,
    /// Which job.
    pub job_id: Uuid,
    /// When it was accepted again.
    pub created_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `job_id`.
    #[sea_orm(
        belongs_to = "super::job::Entity",
        from = "Column::JobId",
        to = "super::job::Column::Id"
    )]
    Job,
}

impl Related<super::job::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Job.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

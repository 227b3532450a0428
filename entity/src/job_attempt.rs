//! Table `job_attempts`.

use sea_orm::entity::prelude::*;

use crate::{CleanText, JobErrorCode, Timestamp};

/// One try of a job.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "job_attempts")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Of which job.
    pub job_id: Uuid,
    /// 1 for the first.
    pub number: i32,
    /// Who ran it.
    pub worker: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub error_code: Option<JobErrorCode>,
    /// In words.
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<CleanText>,
    /// Whether another try may help.
    pub error_retryable: Option<bool>,
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

//! Table `job_attempts`.

use sea_orm::entity::prelude::*;

use crate::{CleanText, JobErrorCode, Timestamp};

/// An attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "job_attempts")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// The number: 1 for the first.
    pub number: i32,
    /// The worker.
    pub worker: String,
    /// The time of its start.
    pub started_at: Timestamp,
    /// The time of its end.
    pub finished_at: Option<Timestamp>,
    /// The code of its error.
    pub error_code: Option<JobErrorCode>,
    /// The error in words.
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<CleanText>,
    /// Whether another attempt may succeed.
    pub error_retryable: Option<bool>,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

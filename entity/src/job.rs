//! Table `jobs`.

use sea_orm::entity::prelude::*;

use crate::{CleanText, Credits, JobErrorCode, JobKind, JobState, Timestamp};

/// A job: a unit of accepted work, and the outbox from which it reaches the queue.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// A pull or a removal.
    pub kind: JobKind,
    /// The state.
    pub state: JobState,
    /// The owner.
    pub user_id: Uuid,
    /// The host; none until it is placed.
    pub host_id: Option<Uuid>,
    /// Whether the user named the host.
    pub host_named: bool,
    /// The fully qualified reference.
    pub reference: String,
    /// The holding that it made, or that it removes.
    pub image_id: Option<Uuid>,
    /// The image on the engine, once known.
    pub engine_image_id: Option<Uuid>,
    /// The credits that it holds now.
    pub held: Credits,
    /// The number of the newest attempt: with the job's id the fencing token.
    pub attempt: i32,
    /// The number of attempts after which it is dead.
    pub max_attempts: i32,
    /// The number of the user's acceptance. Jobs of one user on one (host, reference) run in this order.
    pub ordinal: i64,
    /// The place in the fair order of its host's queue.
    pub turn: i64,
    /// The time before which it is not handed out.
    pub run_after: Timestamp,
    /// The time at which it was last handed to the queue for the coming attempt.
    pub dispatched_at: Option<Timestamp>,
    /// The number of its newest push to the queue.
    pub push: i32,
    /// The time of the first 429 of a registry since it was last accepted.
    pub rate_limited_since: Option<Timestamp>,
    /// The number of free attempts since the last one that counted.
    pub free_in_a_row: i32,
    /// The time at which an administrator last tried to redrive this dead letter and it was refused.
    pub redrive_refused_at: Option<Timestamp>,
    /// The worker that runs it.
    pub worker: Option<String>,
    /// The time at which the worker's lease ends.
    pub lease_until: Option<Timestamp>,
    /// Whether a cancellation is requested.
    pub cancel_requested: bool,
    /// Whether a removal has touched the engine: then it cannot be cancelled.
    pub touched_engine: bool,
    /// The newest sequence number that is reserved for progress events; it only grows.
    pub sequence: i32,
    /// The last saved snapshot of a pull.
    pub progress: Option<Json>,
    /// The code of the error with which it ended or waits.
    pub error_code: Option<JobErrorCode>,
    /// The error in words, for its owner.
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<CleanText>,
    /// Whether another attempt may succeed.
    pub error_retryable: Option<bool>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
    /// The time of the first acceptance.
    pub created_at: Timestamp,
    /// The time of the last acceptance.
    pub accepted_at: Timestamp,
    /// The start of its first attempt.
    pub started_at: Option<Timestamp>,
    /// The time of its end.
    pub finished_at: Option<Timestamp>,
    /// The time at which an administrator discarded this dead letter.
    pub discarded_at: Option<Timestamp>,
    /// 1 until it ends, else NULL.
    pub live: Option<i16>,
    /// The holding that it removes, while it lives: unique, so there is one live removal of an image.
    pub removal_of: Option<Uuid>,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `user_id`.
    #[sea_orm(
        belongs_to = "super::user::Entity",
        from = "Column::UserId",
        to = "super::user::Column::Id"
    )]
    User,
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

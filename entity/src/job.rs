//! Table `jobs`.

use sea_orm::entity::prelude::*;

use crate::{CleanText, Credits, JobErrorCode, JobKind, JobState, Timestamp};

/// A unit of accepted work, and the outbox from which it reaches the queue.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// What it does.
    pub kind: JobKind,
    /// Where it is.
    pub state: JobState,
    /// Who asked.
    pub user_id: Uuid,
    /// Where it runs; none until it is placed.
    pub host_id: Option<Uuid>,
    /// Whether the user named the host.
    pub host_named: bool,
    /// Fully qualified.
    pub reference: String,
    /// The holding that it made, or was asked to remove.
    pub image_id: Option<Uuid>,
    /// The image id on the engine that it is about, once known.
    pub engine_image_id: Option<Uuid>,
    /// Credits that it holds now.
    pub held: Credits,
    /// Tries started so far; with the job's id the fencing token of the newest try.
    pub attempt: i32,
    /// Tries at most.
    pub max_attempts: i32,
    /// The user's how-manieth acceptance: jobs of one user on one (host, reference) run in this order.
    pub ordinal: i64,
    /// Place in the fair order of its host's queue.
    pub turn: i64,
    /// Not handed out before.
    pub run_after: Timestamp,
    /// When it was last handed to the queue for the coming try.
    pub dispatched_at: Option<Timestamp>,
    /// When a registry first asked for patience since it was last accepted.
    pub rate_limited_since: Option<Timestamp>,
    /// How many of its last tries, one after the other, used up no attempt.
    pub free_in_a_row: i32,
    /// When an administrator last wanted to run this dead letter again, and it could not be accepted.
    pub redrive_refused_at: Option<Timestamp>,
    /// Who runs it.
    pub worker: Option<String>,
    /// Until when that worker is trusted to be alive.
    pub lease_until: Option<Timestamp>,
    /// Whether its worker is to stop it.
    pub cancel_requested: bool,
    /// Whether a removal has begun on the engine: not cancellable any more.
    pub touched_engine: bool,
    /// The newest progress event that was certainly allotted; only grows.
    pub sequence: i32,
    /// The last saved snapshot of a pull.
    pub progress: Option<Json>,
    /// Why it ended or waits.
    pub error_code: Option<JobErrorCode>,
    /// In words, for its owner.
    #[sea_orm(column_type = "Text", nullable)]
    pub error_message: Option<CleanText>,
    /// Whether another try may help.
    pub error_retryable: Option<bool>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// When it was first accepted.
    pub created_at: Timestamp,
    /// When it was last accepted.
    pub accepted_at: Timestamp,
    /// When its first try began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When an administrator took this dead letter off the list.
    pub discarded_at: Option<Timestamp>,
    /// 1 until it ends, else NULL.
    pub live: Option<i16>,
    /// The holding that it removes, while it lives: unique, so there is one live removal of an image.
    pub removal_of: Option<Uuid>,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `user_id`.
    #[sea_orm(
        belongs_to = "super::user::Entity",
        from = "Column::UserId",
        to = "super::user::Column::Id"
    )]
    User,
    /// By `host_id`.
    #[sea_orm(
        belongs_to = "super::host::Entity",
        from = "Column::HostId",
        to = "super::host::Column::Id"
    )]
    Host,
    /// By `image_id`.
    #[sea_orm(
        belongs_to = "super::image::Entity",
        from = "Column::ImageId",
        to = "super::image::Column::Id"
    )]
    Image,
    /// By `engine_image_id`.
    #[sea_orm(
        belongs_to = "super::engine_image::Entity",
        from = "Column::EngineImageId",
        to = "super::engine_image::Column::Id"
    )]
    EngineImage,
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl Related<super::host::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Host.def()
    }
}

impl Related<super::image::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Image.def()
    }
}

impl Related<super::engine_image::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::EngineImage.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

//! The closed sets of words that rows are made of, spelled in the database as in the GraphQL contract.

use sea_orm::entity::prelude::StringLen;
use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// The role of a user.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Uses images.
    #[sea_orm(string_value = "USER")]
    User,
    /// Administers everything.
    #[sea_orm(string_value = "ADMIN")]
    Admin,
}

/// Whether a user may do anything at all.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UserStatus {
    /// May sign in and act.
    #[sea_orm(string_value = "ACTIVE")]
    Active,
    /// May do nothing.
    #[sea_orm(string_value = "BANNED")]
    Banned,
}

/// The kind of a job.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobKind {
    /// Pulls an image onto a host.
    #[sea_orm(string_value = "PULL_IMAGE")]
    PullImage,
    /// Lets go of an image on a host.
    #[sea_orm(string_value = "REMOVE_IMAGE")]
    RemoveImage,
}

/// Where a job is in its life. `Queued` and `Retrying` wait, `Running` has a worker, the others are final.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Waits for its first try.
    #[sea_orm(string_value = "QUEUED")]
    Queued,
    /// A worker has it.
    #[sea_orm(string_value = "RUNNING")]
    Running,
    /// Waits for another try.
    #[sea_orm(string_value = "RETRYING")]
    Retrying,
    /// Done.
    #[sea_orm(string_value = "SUCCEEDED")]
    Succeeded,
    /// Ended: trying again cannot help.
    #[sea_orm(string_value = "FAILED")]
    Failed,
    /// Ended: every attempt failed for a reason that might pass.
    #[sea_orm(string_value = "DEAD")]
    Dead,
    /// Ended by request.
    #[sea_orm(string_value = "CANCELLED")]
    Cancelled,
}

/// Why an attempt failed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobErrorCode {
    /// The registry has no such image.
    #[sea_orm(string_value = "IMAGE_NOT_FOUND")]
    ImageNotFound,
    /// It exists, and no engine like this one can have it: a signature, a chart, no platform for this host, too many layers.
    #[sea_orm(string_value = "IMAGE_UNSUPPORTED")]
    ImageUnsupported,
    /// The registry refuses access.
    #[sea_orm(string_value = "REGISTRY_DENIED")]
    RegistryDenied,
    /// The registry does not answer.
    #[sea_orm(string_value = "REGISTRY_UNAVAILABLE")]
    RegistryUnavailable,
    /// The registry asks to slow down.
    #[sea_orm(string_value = "REGISTRY_RATE_LIMITED")]
    RegistryRateLimited,
    /// The settings forbid this registry.
    #[sea_orm(string_value = "REGISTRY_NOT_ALLOWED")]
    RegistryNotAllowed,
    /// The Docker engine does not answer.
    #[sea_orm(string_value = "ENGINE_UNAVAILABLE")]
    EngineUnavailable,
    /// The engine has no space left.
    #[sea_orm(string_value = "DISK_FULL")]
    DiskFull,
    /// No progress for the stall timeout.
    #[sea_orm(string_value = "STALLED")]
    Stalled,
    /// Longer than the pull timeout.
    #[sea_orm(string_value = "TIMED_OUT")]
    TimedOut,
    /// The worker vanished in the middle.
    #[sea_orm(string_value = "WORKER_LOST")]
    WorkerLost,
    /// The image costs more than the user has.
    #[sea_orm(string_value = "INSUFFICIENT_CREDITS")]
    InsufficientCredits,
    /// A container uses the image.
    #[sea_orm(string_value = "IMAGE_IN_USE")]
    ImageInUse,
    /// The host is gone.
    #[sea_orm(string_value = "HOST_UNAVAILABLE")]
    HostUnavailable,
    /// A fault of Wharfinger's own.
    #[sea_orm(string_value = "INTERNAL")]
    Internal,
}

/// Who sees an image.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageVisibility {
    /// Its holder.
    #[sea_orm(string_value = "PRIVATE")]
    Private,
    /// Everyone, at no cost.
    #[sea_orm(string_value = "PUBLIC")]
    Public,
}

/// Whether an image is still held.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageState {
    /// Held, and on the engine.
    #[sea_orm(string_value = "HELD")]
    Held,
    /// Let go.
    #[sea_orm(string_value = "RELEASED")]
    Released,
    /// Vanished from the engine, and refunded.
    #[sea_orm(string_value = "LOST")]
    Lost,
}

/// Why credits moved.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LedgerEntryKind {
    /// Given by an administrator or the settings.
    #[sea_orm(string_value = "GRANT")]
    Grant,
    /// Paid for an image.
    #[sea_orm(string_value = "CHARGE")]
    Charge,
    /// Given back for an image.
    #[sea_orm(string_value = "REFUND")]
    Refund,
    /// Corrected by an administrator.
    #[sea_orm(string_value = "ADJUSTMENT")]
    Adjustment,
}

/// Presence of an image id on a host's engine.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EngineImageStatus {
    /// A job means to bring it; `brought` is already recorded.
    #[sea_orm(string_value = "EXPECTED")]
    Expected,
    /// It was there when last looked at.
    #[sea_orm(string_value = "PRESENT")]
    Present,
    /// It is gone; `brought` says nothing any more.
    #[sea_orm(string_value = "ABSENT")]
    Absent,
}

impl JobKind {
    /// The kind's name in metrics and traces: the contract's word in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PullImage => "pull_image",
            Self::RemoveImage => "remove_image",
        }
    }
}

impl JobState {
    /// Whether the job has ended. Only a retry leaves such a state.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Dead | Self::Cancelled
        )
    }
}

impl JobErrorCode {
    /// The code as the GraphQL contract spells it.
    pub fn as_str(self) -> &'static str {
        use JobErrorCode as C;
        match self {
            C::ImageNotFound => "IMAGE_NOT_FOUND",
            C::ImageUnsupported => "IMAGE_UNSUPPORTED",
            C::RegistryDenied => "REGISTRY_DENIED",
            C::RegistryUnavailable => "REGISTRY_UNAVAILABLE",
            C::RegistryRateLimited => "REGISTRY_RATE_LIMITED",
            C::RegistryNotAllowed => "REGISTRY_NOT_ALLOWED",
            C::EngineUnavailable => "ENGINE_UNAVAILABLE",
            C::DiskFull => "DISK_FULL",
            C::Stalled => "STALLED",
            C::TimedOut => "TIMED_OUT",
            C::WorkerLost => "WORKER_LOST",
            C::InsufficientCredits => "INSUFFICIENT_CREDITS",
            C::ImageInUse => "IMAGE_IN_USE",
            C::HostUnavailable => "HOST_UNAVAILABLE",
            C::Internal => "INTERNAL",
        }
    }
}

/// An administrative act.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(64))")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuditAction {
    /// A user was made.
    #[sea_orm(string_value = "CREATE_USER")]
    CreateUser,
    /// A user's role, status or password was changed.
    #[sea_orm(string_value = "UPDATE_USER")]
    UpdateUser,
    /// Credits were given or taken back.
    #[sea_orm(string_value = "GRANT_CREDITS")]
    GrantCredits,
    /// An image was published.
    #[sea_orm(string_value = "SET_IMAGE_VISIBILITY")]
    SetImageVisibility,
    /// A public image was to be pulled anew.
    #[sea_orm(string_value = "REFRESH_PUBLIC_IMAGE")]
    RefreshPublicImage,
    /// A public image was to be removed.
    #[sea_orm(string_value = "REMOVE_PUBLIC_IMAGE")]
    RemovePublicImage,
    /// New jobs were kept from a host, or let onto it again.
    #[sea_orm(string_value = "SET_HOST_SCHEDULABLE")]
    SetHostSchedulable,
    /// A queue was paused or resumed.
    #[sea_orm(string_value = "SET_QUEUE_PAUSED")]
    SetQueuePaused,
    /// Another user's job was run again.
    #[sea_orm(string_value = "RETRY_JOB")]
    RetryJob,
    /// Dead letters were run again.
    #[sea_orm(string_value = "RETRY_DEAD_JOBS")]
    RetryDeadJobs,
    /// A dead letter was taken off the list.
    #[sea_orm(string_value = "DISCARD_JOB")]
    DiscardJob,
    /// Another user's job was stopped.
    #[sea_orm(string_value = "CANCEL_JOB")]
    CancelJob,
    /// Private images not in use were to be removed.
    #[sea_orm(string_value = "SWEEP_IMAGES")]
    SweepImages,
    /// Another user's token was revoked.
    #[sea_orm(string_value = "REVOKE_API_TOKEN")]
    RevokeApiToken,
}

//! The closed sets of words that rows are made of, spelled in the database as in the GraphQL contract. Where the contract has
//! them too, it has them from here, with these comments as its descriptions.

use async_graphql::Enum;
use sea_orm::entity::prelude::StringLen;
use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// The role of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Uses images.
    User,
    /// Administers users, hosts, images and queues.
    Admin,
}

/// Whether a user may use Wharfinger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UserStatus {
    /// May sign in and act.
    Active,
    /// May do nothing.
    Banned,
}

/// The kind of a job.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobKind {
    /// Pulls an image onto a host.
    PullImage,
    /// Lets go of an image on a host.
    RemoveImage,
}

/// QUEUED and RETRYING wait; RUNNING has a worker. SUCCEEDED, FAILED, DEAD and CANCELLED are final.
/// FAILED: trying again cannot help (no such image, access denied, not enough credits).
/// DEAD: every attempt failed for a reason that might pass: a dead letter, for its owner or an administrator to retry.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Enum,
    EnumIter,
    DeriveActiveEnum,
    Serialize,
    Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Waits for its first attempt.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for another attempt.
    Retrying,
    /// Done.
    Succeeded,
    /// Ended: trying again cannot help.
    Failed,
    /// Ended: every attempt failed for a reason that might pass.
    Dead,
    /// Ended by request.
    Cancelled,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobErrorCode {
    /// The registry has no such image, or not all of it.
    ImageNotFound,
    /// The image exists, but no engine like this one can have it: a signature, a chart, no platform for this host, too many
    /// layers, or a configuration that cannot be read.
    ImageUnsupported,
    /// The registry refuses access.
    RegistryDenied,
    /// The registry does not answer.
    RegistryUnavailable,
    /// The registry asks to slow down.
    RegistryRateLimited,
    /// The settings forbid this registry, or an address that it leads to.
    RegistryNotAllowed,
    /// The Docker engine does not answer.
    EngineUnavailable,
    /// The engine has no space left.
    DiskFull,
    /// No progress for the stall timeout.
    Stalled,
    /// Longer than the pull timeout.
    TimedOut,
    /// The worker vanished in the middle.
    WorkerLost,
    /// The image costs more than the user has.
    InsufficientCredits,
    /// A container uses the image.
    ImageInUse,
    /// The host has been gone for too long.
    HostUnavailable,
    /// A fault of Wharfinger itself; the log has the cause.
    Internal,
}

/// Who sees an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageVisibility {
    /// Its holder.
    Private,
    /// Everyone, free of charge.
    Public,
}

/// Whether an image is still held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageState {
    /// Held, and on the engine.
    Held,
    /// No longer held: history.
    Released,
    /// Vanished from the engine, and refunded.
    Lost,
}

/// Why credits moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LedgerEntryKind {
    /// Given by an administrator or the settings.
    Grant,
    /// Paid for an image.
    Charge,
    /// Given back for an image.
    Refund,
    /// Corrected by an administrator.
    Adjustment,
}

/// Presence of an image id on a host's engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EngineImageStatus {
    /// A job means to bring it; `brought` is already recorded.
    Expected,
    /// It was there when last looked at.
    Present,
    /// It is gone; `brought` says nothing any more.
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

/// An administrative act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(64))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuditAction {
    /// A user was created.
    CreateUser,
    /// A user's role, status or password was changed.
    UpdateUser,
    /// Credits were given or taken back.
    GrantCredits,
    /// An image was published.
    SetImageVisibility,
    /// A public image was pulled again.
    RefreshPublicImage,
    /// The removal of a public image was requested.
    RemovePublicImage,
    /// A host was drained, or takes new jobs again.
    SetHostSchedulable,
    /// A queue was paused or resumed.
    SetQueuePaused,
    /// Another user's job was run again.
    RetryJob,
    /// Dead letters were run again.
    RetryDeadJobs,
    /// A dead letter was taken off the list.
    DiscardJob,
    /// Another user's job was stopped.
    CancelJob,
    /// The removal of private images that are not in use was requested.
    SweepImages,
    /// Another user's token was revoked.
    RevokeApiToken,
}

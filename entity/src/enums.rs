//! The closed sets of words that rows are made of, spelled in the database as in the GraphQL contract.

use sea_orm::entity::prelude::StringLen;
use sea_orm::{DeriveActiveEnum, EnumIter};
use serde::{Deserialize, Serialize};

/// The role of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Uses images.
    User,
    /// Administers everything.
    Admin,
}

/// Whether a user may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
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
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
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

/// Where a job is in its life. `Queued` and `Retrying` wait, `Running` has a worker, the others are final.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Waits for its first try.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for another try.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobErrorCode {
    /// The registry has no such image.
    ImageNotFound,
    /// It exists, and no engine like this one can have it: a signature, a chart, no platform for this host, too many layers.
    ImageUnsupported,
    /// The registry refuses access.
    RegistryDenied,
    /// The registry does not answer.
    RegistryUnavailable,
    /// The registry asks to slow down.
    RegistryRateLimited,
    /// The settings forbid this registry.
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
    /// The host is gone.
    HostUnavailable,
    /// A fault of Wharfinger's own.
    Internal,
}

/// Who sees an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageVisibility {
    /// Its holder.
    Private,
    /// Everyone, at no cost.
    Public,
}

/// Whether an image is still held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(32))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageState {
    /// Held, and on the engine.
    Held,
    /// Let go.
    Released,
    /// Vanished from the engine, and refunded.
    Lost,
}

/// Why credits moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(64))")]
#[sea_orm(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuditAction {
    /// A user was made.
    CreateUser,
    /// A user's role, status or password was changed.
    UpdateUser,
    /// Credits were given or taken back.
    GrantCredits,
    /// An image was published.
    SetImageVisibility,
    /// A public image was to be pulled anew.
    RefreshPublicImage,
    /// A public image was to be removed.
    RemovePublicImage,
    /// New jobs were kept from a host, or let onto it again.
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
    /// Private images not in use were to be removed.
    SweepImages,
    /// Another user's token was revoked.
    RevokeApiToken,
}

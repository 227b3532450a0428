//! The contract's enums, each a mirror of the program's own type.

use async_graphql::Enum;

/// The role of a user.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::Role")]
pub(crate) enum Role {
    /// Uses images.
    User,
    /// Administers users, hosts, images and queues.
    Admin,
}

/// Whether a user may use Wharfinger.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::UserStatus")]
pub(crate) enum UserStatus {
    /// May sign in and act.
    Active,
    /// May do nothing.
    Banned,
}

/// Why credits moved.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::LedgerEntryKind")]
pub(crate) enum LedgerEntryKind {
    /// Given by an administrator or the settings.
    Grant,
    /// Paid for an image.
    Charge,
    /// Given back for an image.
    Refund,
    /// Corrected by an administrator.
    Adjustment,
}

/// Who sees an image.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::ImageVisibility")]
pub(crate) enum ImageVisibility {
    /// Its holder.
    Private,
    /// Everyone, free of charge.
    Public,
}

/// Whether an image is still held.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::ImageState")]
pub(crate) enum ImageState {
    /// Held, and on the engine.
    Held,
    /// No longer held: history.
    Released,
    /// Vanished from the engine, and refunded.
    Lost,
}

/// The order of a list of images.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_jobs::queries::images::ImageOrder")]
pub(crate) enum ImageOrder {
    /// Newest first.
    PulledAtDesc,
    /// Oldest first.
    PulledAtAsc,
    /// Largest first.
    SizeDesc,
    /// Smallest first.
    SizeAsc,
    /// By fully qualified reference.
    ReferenceAsc,
}

/// The kind of a job.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::JobKind")]
pub(crate) enum JobKind {
    /// Pulls an image onto a host.
    PullImage,
    /// Lets go of an image on a host.
    RemoveImage,
}

/// QUEUED and RETRYING wait; RUNNING has a worker. SUCCEEDED, FAILED, DEAD and CANCELLED are final.
/// FAILED: trying again cannot help (no such image, access denied, not enough credits).
/// DEAD: every attempt failed for a reason that might pass: a dead letter, for its owner or an administrator to retry.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::JobState")]
pub(crate) enum JobState {
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
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::JobErrorCode")]
pub(crate) enum JobErrorCode {
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

/// The current step of a pull.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_jobs::progress::PullPhase")]
pub(crate) enum PullPhase {
    /// Waits for a worker, or for another attempt.
    Waiting,
    /// Reading the manifest.
    Resolving,
    /// Fetching layers.
    Downloading,
    /// Unpacking layers; all are fetched.
    Extracting,
    /// Recording the image and its charge.
    Settling,
    /// The job has ended.
    Done,
}

/// The state of a layer.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_jobs::progress::LayerState")]
pub(crate) enum LayerState {
    /// Not begun.
    Waiting,
    /// Being fetched.
    Downloading,
    /// Fetched, and waiting to be unpacked.
    Downloaded,
    /// Being unpacked.
    Extracting,
    /// On the host.
    Done,
    /// The host had it already.
    Reused,
}

/// The kinds of problems that a caller can fix.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_jobs::error::UserErrorCode")]
pub(crate) enum UserErrorCode {
    /// Not an image reference.
    InvalidReference,
    /// The settings forbid this registry.
    RegistryNotAllowed,
    /// Less is available than it needs.
    InsufficientCredits,
    /// Over one of the user's limits; the message says when to try again.
    TooManyJobs,
    /// No such host.
    HostNotFound,
    /// The host takes no jobs now, or no host does.
    HostUnavailable,
    /// The caller has no such image.
    ImageNotFound,
    /// This image cannot be removed, or not by the caller.
    NotRemovable,
    /// The caller has no such job.
    JobNotFound,
    /// The job has ended, or can no longer be stopped.
    JobNotCancellable,
    /// The job did not end in a state that can be retried.
    JobNotRetryable,
    /// The idempotency key was used with another input.
    IdempotencyConflict,
    /// Wrong name or password.
    InvalidCredentials,
    /// The name is in use.
    NameTaken,
    /// The password is too easy to guess.
    WeakPassword,
    /// The amount is out of range.
    InvalidAmount,
    /// No such user.
    UserNotFound,
    /// No such thing.
    NotFound,
    /// Another problem of the input.
    InvalidInput,
}

/// An administrative act.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[graphql(remote = "wharfinger_entity::AuditAction")]
pub(crate) enum AuditAction {
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

//! The contract's enums that no row has, each a mirror of the program's own type. The others are the entities' own.

use async_graphql::Enum;

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

//! Errors of requests, and failures of attempts.

use std::time::Duration;

use sea_orm::DbErr;
use wharfinger_entity::{CleanText, JobErrorCode};

use crate::infra::db::{self, Transient};
use crate::infra::password_hashing::PasswordError;
use crate::ledger::LedgerError;

/// Why a service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The caller can mend it.
    #[error(transparent)]
    Rejected(#[from] UserError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// An account did not add up; nothing was changed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Not possible here as things stand; says what an administrator has to do.
    #[error("{0}")]
    Unavailable(&'static str),
    /// The caller was let in, and may not do this any more.
    #[error("{0}")]
    NotAllowed(&'static str),
    /// Too many wrong passwords: not before this long.
    #[error("too many wrong passwords: try again in {} s", seconds(*.0))]
    Throttled(Duration),
    /// A password could not be hashed or checked.
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl ServiceError {
    /// Whether the same work fails again for the data that it is about: the database refuses it, or an account does not add up.
    pub(crate) fn is_of_data(&self) -> bool {
        match self.of_database() {
            Some(error) => db::refuses_data(error),
            None => matches!(self, Self::Ledger(_)),
        }
    }

    fn of_database(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error) | Self::Ledger(LedgerError::Database(error)) => Some(error),
            _ => None,
        }
    }
}

/// Whole seconds, rounded up: who comes back a moment early would be refused again.
pub fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

impl Transient for ServiceError {
    fn is_transient(&self) -> bool {
        self.of_database().is_some_and(db::is_transient)
    }
}

/// A problem that the caller can mend. Nothing changed for the item at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UserError {
    /// The kind.
    pub code: UserErrorCode,
    /// For people: what was wrong and what would be right.
    pub message: CleanText,
    /// Path of the input field at fault.
    pub field: Option<Vec<&'static str>>,
}

impl UserError {
    /// A problem with one field of the mutation's input.
    pub fn new(code: UserErrorCode, field: &'static str, message: impl Into<CleanText>) -> Self {
        let field = Some(vec!["input", field]);
        Self {
            field,
            ..Self::whole(code, message)
        }
    }

    /// A job that cannot be tried again.
    pub(crate) fn not_retryable(message: impl Into<CleanText>) -> Self {
        Self::new(UserErrorCode::JobNotRetryable, "jobId", message)
    }

    /// A problem with the request as a whole.
    pub fn whole(code: UserErrorCode, message: impl Into<CleanText>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
        }
    }
}

/// The kinds of [`UserError`], as in the GraphQL contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UserErrorCode {
    /// Not an image reference.
    InvalidReference,
    /// The settings forbid this registry.
    RegistryNotAllowed,
    /// The user cannot afford it.
    InsufficientCredits,
    /// Over one of the user's limits.
    TooManyJobs,
    /// No such host.
    HostNotFound,
    /// The host takes no jobs now, or none is there.
    HostUnavailable,
    /// No such image.
    ImageNotFound,
    /// The image cannot be let go of by this user.
    NotRemovable,
    /// No such job.
    JobNotFound,
    /// The job has ended, or cannot be stopped any more.
    JobNotCancellable,
    /// The job did not end in a way that can be tried again.
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
    /// Anything else about the input.
    InvalidInput,
}

/// Why an attempt failed: a typed code, a message for the job's owner, and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct JobFailure {
    /// The kind.
    pub code: JobErrorCode,
    /// In words; the engine's or registry's own where there are any.
    pub message: CleanText,
    /// The consequence for the job.
    pub then: Then,
}

/// The consequence of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Trying again cannot help: FAILED.
    Fail,
    /// Another attempt after a back-off, or DEAD after the last one.
    Retry,
    /// Another attempt after this long, and this one does not count: the fault was neither the job's nor the worker's.
    RetryFree(Duration),
    /// The same, until this many attempts since the job was accepted have failed with this code and message: then FAILED.
    RetryFreeAtMost {
        /// Attempts, at most.
        times: i32,
        /// How long the next one waits.
        after: Duration,
    },
}

impl JobFailure {
    fn new(code: JobErrorCode, message: impl Into<CleanText>, then: Then) -> Self {
        let message = message.into();
        Self {
            code,
            message,
            then,
        }
    }

    /// A failure that trying again cannot mend.
    pub fn fail(code: JobErrorCode, message: impl Into<CleanText>) -> Self {
        Self::new(code, message, Then::Fail)
    }

    /// A failure that may pass.
    pub fn retry(code: JobErrorCode, message: impl Into<CleanText>) -> Self {
        Self::new(code, message, Then::Retry)
    }

    /// A failure that uses up no attempt.
    pub fn retry_free(code: JobErrorCode, message: impl Into<CleanText>, after: Duration) -> Self {
        Self::new(code, message, Then::RetryFree(after))
    }

    /// A failure that uses up no attempt, and is tolerated `times` times with this code and message.
    pub fn retry_free_at_most(
        times: i32,
        code: JobErrorCode,
        message: impl Into<CleanText>,
        after: Duration,
    ) -> Self {
        Self::new(code, message, Then::RetryFreeAtMost { times, after })
    }

    /// Whether another try may help.
    pub fn is_retryable(&self) -> bool {
        self.then != Then::Fail
    }
}

/// The longest that a registry's Retry-After is heeded: it may ask for years.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// A registry limits how often it is asked: that is waited out, with or without a Retry-After.
pub(crate) fn rate_limited(message: String, retry_after: Duration) -> JobFailure {
    let after = retry_after.min(MAX_RETRY_AFTER);
    JobFailure::retry_free(JobErrorCode::RegistryRateLimited, message, after)
}

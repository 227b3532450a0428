//! Why a change of an engine image failed, and what that means for the job.

use std::time::Duration;

use wharfinger_entity::JobErrorCode;

use crate::engine::EngineError;
use crate::engine_images::lock::{ChangeError, LockLost};
use crate::error::{JobFailure, ServiceError, rate_limited};

/// Delay of the next attempt when the engine does not answer. Its worker claims nothing until the engine answers, so this
/// only spaces the offers.
pub(crate) const ENGINE_PAUSE: Duration = Duration::from_secs(1);

/// Time between two tries to record the end of an attempt.
pub(crate) const RECORD_PAUSE: Duration = Duration::from_secs(1);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The attempt failed.
    #[error(transparent)]
    Failed(#[from] JobFailure),
    /// The database or an account does not allow the outcome of the attempt to be recorded.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<sea_orm::DbErr> for RunError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Service(error.into())
    }
}

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> Self {
        Self::Failed(engine_failure(&error))
    }
}

impl From<ChangeError> for RunError {
    fn from(error: ChangeError) -> Self {
        match error {
            // The database was away, or the engine slow: the fault is not the job's.
            ChangeError::LockLost(lost) => Self::Failed(JobFailure::retry_free(
                JobErrorCode::Internal,
                lost.to_string(),
                RECORD_PAUSE,
            )),
            ChangeError::Database(error) => error.into(),
            ChangeError::Engine(error) => error.into(),
        }
    }
}

/// The failure of a job that an error of the engine causes.
pub(crate) fn engine_failure(error: &EngineError) -> JobFailure {
    use JobErrorCode as Code;
    let message = error.to_string();
    match error {
        EngineError::NotFound(_) => JobFailure::fail(Code::ImageNotFound, message),
        EngineError::Denied(_) => JobFailure::fail(Code::RegistryDenied, message),
        EngineError::RegistryUnavailable(_) => {
            JobFailure::retry(Code::RegistryUnavailable, message)
        }
        // An engine does not pass Retry-After on.
        EngineError::RateLimited(_) => rate_limited(message, Duration::ZERO),
        EngineError::DiskFull(_) => JobFailure::retry(Code::DiskFull, message),
        EngineError::Unavailable { .. } => {
            JobFailure::retry_free(Code::EngineUnavailable, message, ENGINE_PAUSE)
        }
        EngineError::InUse(_) => JobFailure::fail(Code::ImageInUse, message),
        EngineError::Unsupported(_) => JobFailure::fail(Code::ImageUnsupported, message),
        EngineError::Conflict(_) | EngineError::Other { .. } => {
            JobFailure::retry(Code::Internal, message)
        }
    }
}

/// Why reconciling stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconcileError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    #[error(transparent)]
    LockLost(#[from] LockLost),
}

impl From<ChangeError> for ReconcileError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::LockLost(lost) => lost.into(),
            ChangeError::Database(error) => error.into(),
            ChangeError::Engine(error) => error.into(),
        }
    }
}

impl From<sea_orm::DbErr> for ReconcileError {
    fn from(error: sea_orm::DbErr) -> Self {
        Self::Service(error.into())
    }
}

//! Reading the manifest upstream, before anything else: nobody gets an image that the registry would not give them.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use wharfinger_entity::{ImageReference, JobErrorCode};

use crate::error::{JobFailure, ServiceError};
use crate::progress::{PullPhase, PullSnapshot};
use crate::registry::{Login, Manifest, Platform, RegistryError};
use crate::registry_credentials::{LoginError, login_for};
use crate::worker::Parts;
use crate::worker::run::{JobRun, RunError};

/// The longest that a registry's Retry-After is heeded: it may ask for years.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What a reference means.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// As the registry gave it.
    pub(super) manifest: Manifest,
    /// It gave it to this user's login, and would not to everybody.
    pub(super) with_login: bool,
}

/// What the reference means now, for the engine's platform. `begun` is a read as nobody that is under way.
///
/// The registry is asked as nobody at first, and with the login that this user has saved for this very registry only if it
/// refused: a pull of what everybody may have carries no login. A registry that has nothing for nobody may have it for
/// somebody. One that is asked too often says nothing of whose the image is: it is asked again later, as nobody.
pub(super) async fn resolve(
    run: &JobRun,
    reference: &ImageReference,
    begun: Option<AbortOnDropHandle<Result<Manifest, RegistryError>>>,
) -> Result<Resolved, RunError> {
    run.report(PullSnapshot {
        phase: PullPhase::Resolving,
        ..PullSnapshot::default()
    });
    let begun = match begun {
        // A read that panicked is done again.
        Some(reading) => reading.await.ok(),
        None => None,
    };
    let as_nobody = match begun {
        Some(answer) => answer,
        None => read(&run.parts, reference, None).await,
    };
    let refused = match as_nobody {
        Ok(manifest) => {
            return Ok(Resolved {
                manifest: fitting(run, manifest)?,
                with_login: false,
            });
        }
        Err(error) => error,
    };
    let worth_a_login = matches!(
        refused,
        RegistryError::Denied { .. } | RegistryError::NotFound { .. }
    );
    let login = if worth_a_login {
        login_for(&run.parts.services, run.job.user_id, reference.registry())
            .await
            .map_err(login_failure)?
    } else {
        None
    };
    let Some(login) = login else {
        return Err(registry_failure(&refused).into());
    };
    match read(&run.parts, reference, Some(&login)).await {
        Ok(manifest) => Ok(Resolved {
            manifest: fitting(run, manifest)?,
            with_login: true,
        }),
        Err(error) => Err(registry_failure(&error).into()),
    }
}

/// The manifest, if the engine takes so many layers. It would say so only once it has fetched them all.
fn fitting(run: &JobRun, manifest: Manifest) -> Result<Manifest, JobFailure> {
    let info = run.parts.info.borrow();
    let most = info.as_ref().map_or(usize::MAX, |info| info.max_layers);
    let found = manifest.layers.len();
    if found <= most {
        return Ok(manifest);
    }
    let reference = &run.job.reference;
    let message = format!("{reference} has {found} layers, and this engine takes at most {most}");
    Err(JobFailure::fail(JobErrorCode::ImageUnsupported, message))
}

/// What it means for a job that a saved login cannot be used: somebody has to act, and may have by the next attempt.
pub(super) fn login_failure(error: LoginError) -> RunError {
    match error {
        LoginError::Database(error) => ServiceError::from(error).into(),
        LoginError::NoKey(_) => JobFailure::retry(JobErrorCode::Internal, error.to_string()).into(),
        LoginError::Unreadable(..) => {
            JobFailure::fail(JobErrorCode::RegistryDenied, error.to_string()).into()
        }
    }
}

/// Asks the registry, with a login or as nobody.
pub(super) async fn read(
    parts: &Parts,
    reference: &ImageReference,
    login: Option<&Login>,
) -> Result<Manifest, RegistryError> {
    let platform = parts.info.borrow().as_ref().map_or_else(
        || Platform::new("linux", std::env::consts::ARCH, None),
        |info| Platform::new(&info.os, &info.architecture, info.variant),
    );
    let wanted = reference.digest().map_or_else(
        || reference.tag().unwrap_or("latest"),
        |digest| digest.as_str(),
    );
    let (registry, repository) = (reference.registry(), reference.repository());
    parts
        .registry
        .manifest(registry, repository, wanted, login, &platform)
        .await
}

/// A registry limits how often it is asked: that is waited out, with or without a Retry-After.
pub(crate) fn rate_limited(message: String, retry_after: Duration) -> JobFailure {
    let after = retry_after.min(MAX_RETRY_AFTER);
    JobFailure::retry_free(JobErrorCode::RegistryRateLimited, message, after)
}

pub(super) fn registry_failure(error: &RegistryError) -> JobFailure {
    use JobErrorCode as Code;
    let message = error.to_string();
    let again = |code, message: String| match error.retry_after() {
        Some(after) => JobFailure::retry_free(code, message, after.min(MAX_RETRY_AFTER)),
        None => JobFailure::retry(code, message),
    };
    match error {
        error if error.is_unsupported() => JobFailure::fail(Code::ImageUnsupported, message),
        RegistryError::NotFound { .. } => JobFailure::fail(Code::ImageNotFound, message),
        RegistryError::Denied { .. } => JobFailure::fail(Code::RegistryDenied, message),
        RegistryError::RateLimited { retry_after, .. } => {
            rate_limited(message, retry_after.unwrap_or_default())
        }
        RegistryError::Unavailable { .. } => again(Code::RegistryUnavailable, message),
        RegistryError::NotAllowed(_) => JobFailure::fail(Code::RegistryNotAllowed, message),
        RegistryError::Invalid { .. } | RegistryError::NoPlatform { .. } => {
            JobFailure::fail(Code::ImageNotFound, message)
        }
    }
}

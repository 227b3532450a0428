//! Reading the manifest upstream, before anything else: nobody gets an image that the registry would not give them.

use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use wharfinger_entity::{ImageReference, JobErrorCode};

use crate::error::JobFailure;
use crate::progress::{PullPhase, PullSnapshot};
use crate::registry::{Manifest, Platform, RegistryError};
use crate::worker::Parts;
use crate::worker::run::{JobRun, RunError};

/// The longest that a registry's Retry-After is heeded.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What the reference means now, for the engine's platform. `begun` is a read that is under way.
pub(super) async fn resolve(
    run: &JobRun,
    reference: &ImageReference,
    begun: Option<AbortOnDropHandle<Result<Manifest, RegistryError>>>,
) -> Result<Manifest, RunError> {
    run.report(PullSnapshot {
        phase: PullPhase::Resolving,
        ..PullSnapshot::default()
    });
    let begun = match begun {
        // A read that panicked is done again.
        Some(reading) => reading.await.ok(),
        None => None,
    };
    let manifest = match begun {
        Some(manifest) => manifest,
        None => read(&run.parts, reference).await,
    };
    manifest.map_err(|error| registry_failure(&error).into())
}

/// Asks the registry.
pub(super) async fn read(
    parts: &Parts,
    reference: &ImageReference,
) -> Result<Manifest, RegistryError> {
    let platform = parts.info.borrow().as_ref().map_or_else(
        || Platform::new("linux", std::env::consts::ARCH, None),
        |info| Platform::new(&info.os, &info.architecture, info.variant.as_deref()),
    );
    let wanted = reference.digest().map_or_else(
        || reference.tag().unwrap_or("latest"),
        |digest| digest.as_str(),
    );
    let (registry, repository) = (reference.registry(), reference.repository());
    parts
        .registry
        .manifest(registry, repository, wanted, None, &platform)
        .await
}

fn registry_failure(error: &RegistryError) -> JobFailure {
    use JobErrorCode as Code;
    let message = error.to_string();
    let again = |code, message: String| match error.retry_after() {
        Some(after) => JobFailure::retry_free(code, message, after.min(MAX_RETRY_AFTER)),
        None => JobFailure::retry(code, message),
    };
    match error {
        RegistryError::NotFound { .. } | RegistryError::NoPlatform { .. } => {
            JobFailure::fail(Code::ImageNotFound, message)
        }
        RegistryError::Denied { .. } => JobFailure::fail(Code::RegistryDenied, message),
        RegistryError::RateLimited { .. } => again(Code::RegistryRateLimited, message),
        RegistryError::Unavailable { .. } => again(Code::RegistryUnavailable, message),
        RegistryError::NotAllowed(_) => JobFailure::fail(Code::RegistryNotAllowed, message),
        RegistryError::Invalid { .. } => JobFailure::fail(Code::ImageNotFound, message),
    }
}

//! Reading the manifest upstream, before anything else: nobody gets an image that the registry would not give them.

use wharfinger_entity::{Digest, ImageReference, JobErrorCode};

use crate::attempt::{JobRun, WorkerContext};
use crate::engine::ImageStore;
use crate::engine_images::blob_origins::Source;
use crate::engine_images::error::RunError;
use crate::error::{JobFailure, MAX_RETRY_AFTER, ServiceError, rate_limited};
use crate::progress::{PullPhase, PullSnapshot};
use crate::registry::{Login, Manifest, Platform, RegistryError, canonical_name};
use crate::registry_credentials::{LoginError, login_for};

/// What a reference means.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// As the registry gave it.
    pub(super) manifest: Manifest,
    /// It gave it to this user's login, and would not to everybody.
    pub(super) with_login: bool,
    /// How the engine keeps images.
    pub(super) store: ImageStore,
    /// What the engine will call the image.
    pub(super) image_id: Digest,
    /// The digest by which the engine pulls it.
    pub(super) pulled_digest: Digest,
}

impl Resolved {
    fn new(context: &WorkerContext, manifest: Manifest, with_login: bool) -> Self {
        let info = context.info.borrow();
        let store = info
            .as_ref()
            .map_or_else(ImageStore::default, |info| info.store);
        let (image_id, pulled_digest) = match store {
            // By the platform's manifest, not by the index: an index may list several images for one platform, and only of
            // the one that was chosen here it is proved that the caller may have it.
            ImageStore::Containerd => (&manifest.platform_digest, &manifest.platform_digest),
            ImageStore::GraphDriver | ImageStore::Podman => {
                (&manifest.config_digest, &manifest.digest)
            }
        };
        Self {
            store,
            with_login,
            image_id: image_id.clone(),
            pulled_digest: pulled_digest.clone(),
            manifest,
        }
    }

    /// What was read by its digest, in the repository that was named.
    pub(super) fn pinned(&self, reference: &ImageReference) -> String {
        format!("{}@{}", reference.name(), self.pulled_digest)
    }

    /// Where it comes from.
    pub(super) fn source(&self, reference: &ImageReference) -> Source {
        let registry = reference.registry();
        Source {
            registry: canonical_name(registry).unwrap_or_else(|| registry.to_owned()),
            repository: reference.repository().to_owned(),
            anonymous: !self.with_login,
        }
    }

    /// The layers, as (digest, compressed bytes) from the bottom up.
    pub(super) fn layers(&self) -> Vec<(String, u64)> {
        let layers = self.manifest.layers.iter();
        layers
            .map(|layer| (layer.digest.to_string(), layer.size))
            .collect()
    }
}

/// What the reference means now, for the engine's platform. `begun` is a read as nobody that is under way.
///
/// The registry is asked as nobody at first, and with the login that this user has saved for this very registry only if it
/// refused: a pull of what everybody may have carries no login. A registry that has nothing for nobody may have it for
/// somebody. One that is asked too often says nothing of whose the image is: it is asked again later, as nobody.
pub(super) async fn resolve(
    run: &JobRun,
    reference: &ImageReference,
) -> Result<Resolved, RunError> {
    run.report(PullSnapshot {
        phase: PullPhase::Resolving,
        ..PullSnapshot::default()
    });
    let refused = match read(&run.context, reference, None).await {
        Ok(manifest) => {
            return Ok(Resolved::new(&run.context, fitting(run, manifest)?, false));
        }
        Err(error) => error,
    };
    let worth_a_login = matches!(
        refused,
        RegistryError::Denied { .. } | RegistryError::NotFound { .. }
    );
    let login = if worth_a_login {
        login_for(&run.context.services, run.job.user_id, reference.registry())
            .await
            .map_err(login_failure)?
    } else {
        None
    };
    let Some(login) = login else {
        return Err(registry_failure(&refused).into());
    };
    match read(&run.context, reference, Some(&login)).await {
        Ok(manifest) => Ok(Resolved::new(&run.context, fitting(run, manifest)?, true)),
        Err(error) => Err(registry_failure(&error).into()),
    }
}

/// The manifest, if the engine takes so many layers. It would say so only once it has fetched them all.
fn fitting(run: &JobRun, manifest: Manifest) -> Result<Manifest, JobFailure> {
    let info = run.context.info.borrow();
    let most = info.as_ref().map_or(usize::MAX, |info| info.max_layers);
    let found = manifest.layers.len();
    if found <= most {
        return Ok(manifest);
    }
    let reference = &run.job.reference;
    let message = format!("{reference} has {found} layers, and this engine takes at most {most}");
    Err(JobFailure::fail(JobErrorCode::ImageUnsupported, message))
}

/// The login that the registry gave the manifest to; none where it gave it without.
pub(super) async fn login_of(
    run: &JobRun,
    reference: &ImageReference,
    with_login: bool,
) -> Result<Option<Login>, RunError> {
    if !with_login {
        return Ok(None);
    }
    let registry = reference.registry();
    let login = login_for(&run.context.services, run.job.user_id, registry).await;
    let Some(login) = login.map_err(login_failure)? else {
        let message = format!("the login for {registry} was deleted in the middle of the pull");
        return Err(JobFailure::fail(JobErrorCode::RegistryDenied, message).into());
    };
    Ok(Some(login))
}

/// The image that the engine has, or makes of the registry's answers, is not the one that the manifest describes.
pub(super) fn mismatch() -> JobFailure {
    let message = "the image's manifest, config and layers do not belong together";
    JobFailure::fail(JobErrorCode::ImageNotFound, message)
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
    context: &WorkerContext,
    reference: &ImageReference,
    login: Option<&Login>,
) -> Result<Manifest, RegistryError> {
    let platform = context.info.borrow().as_ref().map_or_else(
        || Platform::new("linux", std::env::consts::ARCH, None),
        |info| Platform::new(&info.os, &info.architecture, info.variant),
    );
    let wanted = reference.digest().map_or_else(
        || reference.tag().unwrap_or("latest"),
        |digest| digest.as_str(),
    );
    let (registry, repository) = (reference.registry(), reference.repository());
    context
        .registry
        .manifest(registry, repository, wanted, login, &platform)
        .await
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

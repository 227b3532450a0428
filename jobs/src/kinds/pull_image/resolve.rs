//! Reads the manifest from the registry, before anything else: a user gets no image that the registry would refuse them.

use std::collections::HashSet;

use wharfinger_entity::{Digest, ImageReference, JobErrorCode};

use crate::attempt::{JobRun, WorkerContext};
use crate::engine::{EngineImage, ImageStore};
use crate::engine_images::blob_origins::{Part, Source};
use crate::engine_images::error::RunError;
use crate::error::{JobFailure, MAX_RETRY_AFTER, ServiceError, rate_limited};
use crate::progress::{PullPhase, PullSnapshot};
use crate::registry::{Login, Manifest, Platform, RegistryError, canonical_name};
use crate::registry_credentials::{LoginError, login_for};

/// The manifest that a reference names at this moment, and how the engine identifies its image.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// The manifest, as the registry sent it.
    pub(super) manifest: Manifest,
    /// Whether the manifest was read with the user's login. The registry refused the anonymous request then.
    pub(super) with_login: bool,
    /// How the engine keeps images.
    pub(super) store: ImageStore,
    /// The image's id on the engine.
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

    /// The reference by digest, `repository@digest`, in the repository that the user named.
    pub(super) fn pinned(&self, reference: &ImageReference) -> String {
        format!("{}@{}", reference.name(), self.pulled_digest)
    }

    /// The repository that the image comes from, and whether it is readable without a login.
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

    /// The config and the layers, each once. `had` is the image, where the engine has it. Fails if that has other layers than
    /// the manifest.
    pub(super) fn parts(&self, had: Option<&EngineImage>) -> Result<Vec<Part>, RunError> {
        let manifest = &self.manifest;
        let by_config = self.image_id == manifest.config_digest;
        // By its config alone the engine would take other layers for those of the image.
        let diff_ids = match had {
            // Of an image without layers there is nothing to be had but the config.
            Some(image) if by_config && !image.diff_ids.is_empty() => {
                if image.diff_ids.len() != manifest.layers.len() {
                    return Err(mismatch().into());
                }
                image.diff_ids.iter().map(Some).collect()
            }
            _ => vec![None; manifest.layers.len()],
        };
        let there = had.is_some();
        let config = Part {
            digest: manifest.config_digest.to_string(),
            size: manifest.config_size,
            media_type: None,
            diff_id: None,
            // This store does not report configs.
            may_be_there: there || self.store == ImageStore::Containerd,
        };
        let layers = manifest
            .layers
            .iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| Part {
                digest: layer.digest.to_string(),
                size: layer.size,
                media_type: Some(layer.media_type.to_string()),
                diff_id: diff_id.cloned(),
                may_be_there: there,
            });
        let mut seen = HashSet::new();
        let parts = std::iter::once(config).chain(layers);
        Ok(parts
            .filter(|part| seen.insert(part.digest.clone()))
            .collect())
    }
}

/// Reads the manifest of the job's reference for the engine's platform.
///
/// The first request is anonymous, so that the pull of a public image carries no login. If the registry denies it or has no
/// such image, the request is repeated with the login that the user saved for this registry, if there is one. A rate limit
/// says nothing about access: the error is returned, and the next attempt begins anonymously again. Fails with the registry's
/// last error, with an unusable login, and where the image has more layers than the engine accepts.
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

/// Returns the manifest. Fails if it has more layers than the engine accepts: the engine itself fails only after it has
/// fetched them all.
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

/// The login with which the manifest was read; none if it was read anonymously. Fails if the login was deleted since.
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

/// The error of an attempt whose saved login cannot be used. Without the key of the login the attempt is retried, because an
/// administrator may configure it meanwhile. A login that the key cannot decrypt fails the job.
pub(super) fn login_failure(error: LoginError) -> RunError {
    match error {
        LoginError::Database(error) => ServiceError::from(error).into(),
        LoginError::NoKey(_) => JobFailure::retry(JobErrorCode::Internal, error.to_string()).into(),
        LoginError::Unreadable(..) => {
            JobFailure::fail(JobErrorCode::RegistryDenied, error.to_string()).into()
        }
    }
}

/// Reads the manifest of a reference for the engine's platform, with a login or anonymously.
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

//! Proofs by the registry: it says that it gives a blob to the caller, or delivers it to the worker, which counts the bytes as
//! downloaded and keeps none.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tracing::Instrument as _;
use wharfinger_entity::JobErrorCode;

use super::resolve::{Resolved, mismatch, registry_failure};
use crate::attempt::JobRun;
use crate::engine::{LayerStep, PullEvent};
use crate::engine_images::blob_origins::{self, Part, Source};
use crate::engine_images::error::RunError;
use crate::error::JobFailure;
use crate::infra::trace;
use crate::progress::ProgressTracker;
use crate::registry::{Blob, BlobError, Login, RegistryError};

/// Progress is told at most so often.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Blobs that a registry is asked for at a time.
const AT_A_TIME: usize = 8;

/// Asks the source's registry whether it gives these blobs to the caller. Returns those that it does not give.
pub(super) async fn withheld(
    run: &JobRun,
    source: &Source,
    parts: Vec<Part>,
    login: Option<&Login>,
) -> Result<Vec<Part>, JobFailure> {
    let (registry, repository) = (&source.registry, &source.repository);
    let client = &run.context.registry;
    let asked = stream::iter(parts.into_iter().map(|part| async move {
        let gives = client.gives(registry, repository, &part.digest, login);
        let gives = gives.await.map_err(|error| registry_failure(&error))?;
        Ok((!gives).then_some(part))
    }));
    let withheld = asked
        .buffer_unordered(AT_A_TIME)
        .try_filter_map(async |part| Ok(part));
    withheld.try_collect().instrument(trace::phase("ask")).await
}

/// Lets a registry deliver these blobs one after the other, and writes each down. `before` was fetched earlier. Returns their
/// digests, with what they are uncompressed.
pub(super) async fn fetch(
    run: &JobRun,
    resolved: &Resolved,
    source: &Source,
    login: Option<&Login>,
    parts: &[Part],
    before: &HashSet<String>,
) -> Result<Vec<(String, Option<String>)>, RunError> {
    let services = &run.context.services;
    let stall = services.settings.worker.stall_timeout;
    let mut progress = Progress::new(run, resolved, before);
    let mut fetched = Vec::with_capacity(parts.len());
    for part in parts {
        let blob = Blob {
            digest: &part.digest,
            size: part.size,
            media_type: part.media_type.as_deref(),
        };
        let (registry, repository) = (&source.registry, &source.repository);
        let arrived = |came| progress.arrived(part, came);
        let client = &run.context.registry;
        let delivering = client.deliver(registry, repository, blob, login, stall, arrived);
        let delivered = delivering.await.map_err(|error| failure(&error))?;
        if part.diff_id.is_some() && delivered.diff_id != part.diff_id {
            return Err(mismatch().into());
        }
        let one = (part.digest.clone(), delivered.diff_id);
        let written = std::slice::from_ref(&one);
        let (db, now) = (services.db.write(), services.clock.now());
        blob_origins::deliver(db, run.host_id, source, written, now).await?;
        progress.done(part);
        fetched.push(one);
    }
    Ok(fetched)
}

/// The same as where the engine fetches: who asks must not see which of the two it was.
fn failure(error: &BlobError) -> JobFailure {
    match error {
        BlobError::Registry(RegistryError::NotFound { .. }) => {
            JobFailure::retry(JobErrorCode::ImageNotFound, error.to_string())
        }
        BlobError::Registry(RegistryError::Invalid { .. }) => {
            JobFailure::retry(JobErrorCode::RegistryUnavailable, error.to_string())
        }
        BlobError::Registry(error) => registry_failure(error),
        BlobError::Stalled(_) => JobFailure::retry(JobErrorCode::Stalled, error.to_string()),
    }
}

/// Tells how far it is, as if the engine fetched.
struct Progress<'a> {
    run: &'a JobRun,
    before: &'a HashSet<String>,
    tracker: ProgressTracker,
    told: Option<Instant>,
}

impl<'a> Progress<'a> {
    fn new(run: &'a JobRun, resolved: &Resolved, before: &'a HashSet<String>) -> Self {
        Self {
            run,
            before,
            tracker: ProgressTracker::new(resolved.layers()),
            told: None,
        }
    }

    fn arrived(&mut self, part: &Part, current: u64) {
        let total = Some(part.size);
        self.take(part, LayerStep::Downloading { current, total });
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.tell();
        }
    }

    fn done(&mut self, part: &Part) {
        self.take(part, LayerStep::Downloaded);
        self.tell();
    }

    /// The config is not counted: engines do not tell of it either.
    fn take(&mut self, part: &Part, step: LayerStep) {
        if part.media_type.is_some() {
            let hex = part
                .digest
                .split_once(':')
                .map_or(&*part.digest, |(_, hex)| hex);
            let id = hex.into();
            self.tracker
                .apply(&PullEvent::Layer { id, step }, Instant::now());
        }
    }

    fn tell(&mut self) {
        let now = Instant::now();
        self.told = Some(now);
        let snapshot = self.tracker.snapshot(now);
        self.run.report(snapshot.with_fetched(self.before));
    }
}

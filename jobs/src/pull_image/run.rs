//! An attempt of a pull: read the manifest upstream, record what the engine has, let the engine pull, settle.

use std::sync::Arc;
use std::time::Instant;

use metrics::{counter, histogram};
use tracing::Instrument as _;
use wharfinger_entity::{Digest, ImageReference, JobErrorCode};

use super::proof::{Proof, WasThere};
use super::public::settle_public;
use super::record::{Presence, record_and_hold};
use super::resolve::{Resolved, resolve};
use super::settle::{Arrived, Settled, settle};
use super::transfer::transfer;
use crate::attempt::{AttemptEnd, JobRun};
use crate::engine::{EngineError, EngineImage};
use crate::engine_images::error::RunError;
use crate::engine_images::lock;
use crate::error::JobFailure;
use crate::infra::trace;
use crate::progress::PullPhase;

/// Runs one attempt of a pull, to its settlement.
pub(super) async fn run(run: &Arc<JobRun>) -> Result<AttemptEnd, RunError> {
    let timeout = run.context.services.settings.worker.pull_timeout;
    let deadline = tokio::time::Instant::now() + timeout;
    if let Some(end) = settle_public(run).await? {
        return Ok(end);
    }
    loop {
        let arrived = tokio::select! {
            biased;
            end = run.interrupted() => return Ok(end),
            arrived = tokio::time::timeout_at(deadline, Box::pin(fetch(run))) => arrived.unwrap_or_else(|_| {
                let message = format!("the pull took longer than {}", humantime::format_duration(timeout));
                Err(JobFailure::retry(JobErrorCode::TimedOut, message).into())
            })?,
        };
        // From here on nothing interrupts: the settle happens whole or not at all.
        let arrived_now = Arrived {
            host_id: run.host_id,
            image: &arrived.image,
            digest: Some(arrived.digest.into()),
            version: arrived.version,
            frame: &run.frame(),
        };
        let settling = settle(&run.context.services, &run.lease, &arrived_now);
        match timed("settle", settling).await? {
            Settled::Done { to_look_at } => {
                let came = &arrived_now.frame.snapshot;
                counter!("wharfinger_pulled_bytes_total").increment(came.downloaded);
                counter!("wharfinger_reused_bytes_total").increment(came.reused);
                tidy(run, to_look_at).await;
                return Ok(AttemptEnd::Settled);
            }
            Settled::NotOurs => return Ok(AttemptEnd::NotOurs),
            Settled::Cancelled => return Ok(AttemptEnd::Cancelled),
            Settled::LookAgain => {}
            Settled::TooExpensive { needed, available } => {
                let message =
                    format!("the image costs {needed} credits, and {available} are available");
                return Err(JobFailure::fail(JobErrorCode::InsufficientCredits, message).into());
            }
        }
    }
}

/// Measures how long a phase of a pull takes, whatever comes of it.
async fn timed<T>(phase: &'static str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = work.instrument(trace::phase(phase)).await;
    let took = began.elapsed();
    tracing::debug!(phase, ?took, "a phase of the pull ended");
    histogram!("wharfinger_pull_phase_seconds", "phase" => phase).record(took.as_secs_f64());
    done
}

/// The image as the engine has it after its pull.
struct Fetched {
    image: EngineImage,
    digest: Digest,
    version: i64,
}

/// Everything up to the settle; dropping it cancels the engine's pull unless others joined it.
async fn fetch(run: &Arc<JobRun>) -> Result<Fetched, RunError> {
    let reference: ImageReference = run.job.reference.parse().map_err(|error| {
        JobFailure::fail(
            JobErrorCode::Internal,
            format!("the stored reference cannot be read: {error}"),
        )
    })?;
    let resolved = timed("resolve", resolve(run, &reference)).await?;
    let present = timed("record", Box::pin(record_and_hold(run, &resolved))).await?;
    let transferred = Box::pin(proved_transfer(run, &reference, &resolved, present));
    timed("transfer", transferred).await?;
    timed("inspect", inspect(run, &reference, &resolved)).await
}

/// How often an engine may pull nothing because it has the image: it can lose it in between, and pull it the next time.
const IMAGE_SEEN_THERE: u32 = 3;

/// The engine's pull, between the proofs that the caller may have what the engine has already: before it for what is known
/// to be there, and after it for what the engine found there.
async fn proved_transfer(
    run: &JobRun,
    reference: &ImageReference,
    resolved: &Resolved,
    present: Presence,
) -> Result<(), RunError> {
    let mut proof = Box::pin(Proof::begin(run, reference, resolved, present.seen)).await?;
    let mut seen_there = 0;
    loop {
        let confirmed = present.confirmed;
        let (brought, last) = transfer(run, reference, resolved, &proof, confirmed).await?;
        match Box::pin(proof.complete(run, reference, resolved, &brought)).await? {
            WasThere::Image if seen_there == IMAGE_SEEN_THERE => {
                let message = "the engine says that it has the image, and does not show it";
                return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
            }
            WasThere::Image => {
                seen_there += 1;
                proof = Box::pin(Proof::begin(run, reference, resolved, true)).await?;
            }
            WasThere::Nothing if !brought.whole => {
                let message = "the engine's pull ended early";
                return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
            }
            WasThere::Nothing | WasThere::Layers => {}
        }
        if !brought.whole {
            continue;
        }
        if !Box::pin(proof.record(run, reference, resolved)).await? {
            // Another repository had to do with it meanwhile. Now all is there, and all is proved.
            proof = Box::pin(Proof::begin(run, reference, resolved, true)).await?;
            if !Box::pin(proof.record(run, reference, resolved)).await? {
                let message = "other pulls bring the same layers from elsewhere";
                return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
            }
        }
        run.report(proof.counted(last));
        return Ok(());
    }
}

/// Sets the tag that was asked for, and reads the image from the engine.
async fn inspect(
    run: &JobRun,
    reference: &ImageReference,
    resolved: &Resolved,
) -> Result<Fetched, RunError> {
    let engine = &run.context.engine;
    let mut snapshot = run.frame().snapshot;
    snapshot.phase = PullPhase::Settling;
    run.report(snapshot);
    loop {
        let Some(image) = engine.inspect(&resolved.pinned(reference)).await? else {
            let message = "the engine pulled the image and then did not have it";
            return Err(JobFailure::retry(JobErrorCode::ImageNotFound, message).into());
        };
        let services = &run.context.services;
        let version = lock::settled_version(services, run.host_id, &image.id).await?;
        if reference.digest().is_none() {
            let tag = reference.tag().unwrap_or("latest");
            // An attempt that was taken over must not move the tag from where a newer one put it.
            run.prove_lease().await?;
            match engine.tag(&image.id, &reference.name(), tag).await {
                Ok(()) => {}
                // Removed since: the next look tells.
                Err(EngineError::NotFound(_)) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        // Looked at again after the version was read: what is confirmed now was there at that version or later.
        if let Some(image) = engine.inspect(&image.id).await? {
            return Ok(Fetched {
                image,
                digest: resolved.manifest.digest.clone(),
                version,
            });
        }
    }
}

/// Removes the images that were let go of when the tag moved, unless another user holds them, and puts back tags that other pulls
/// moved.
async fn tidy(run: &JobRun, to_look_at: Vec<uuid::Uuid>) {
    let context = &run.context;
    for id in to_look_at {
        if let Err(error) =
            crate::engine_images::reconcile::one(&context.services, &context.engine, id).await
        {
            tracing::warn!(%error, "could not tidy up after the pull: the reconciler will");
        }
    }
}

//! An attempt of a pull: read the manifest upstream, record what the engine has, let the engine pull, settle.

use std::sync::Arc;
use std::time::Instant;

use metrics::{counter, histogram};
use tracing::Instrument as _;
use wharfinger_entity::{ImageReference, JobErrorCode};

use super::proof::{Proof, WasThere};
use super::public::settle_public;
use super::record::{Presence, record_and_hold};
use super::resolve::{Resolved, resolve};
use super::settle::{Arrived, Settled, settle};
use super::transfer::transfer;
use crate::attempt::{AttemptEnd, JobRun};
use crate::engine::{EngineError, EngineImage, same_reference};
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
    let mut earlier = None;
    loop {
        let arriving = Box::pin(arrive(run, earlier.take()));
        let arrived = tokio::select! {
            biased;
            end = run.interrupted() => return Ok(end),
            arrived = tokio::time::timeout_at(deadline, arriving) => arrived.unwrap_or_else(|_| {
                let message = format!("the pull took longer than {}", humantime::format_duration(timeout));
                Err(JobFailure::retry(JobErrorCode::TimedOut, message).into())
            })?,
        };
        // From here on nothing interrupts: the settle happens whole or not at all.
        let arrived_now = Arrived {
            host_id: run.host_id,
            image: &arrived.image,
            digest: Some(arrived.resolved.manifest.digest.clone().into()),
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
            Settled::LookAgain => earlier = Some((arrived.resolved, arrived.at_record)),
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

/// An image that the engine has, and what it was asked for.
struct Fetched {
    image: EngineImage,
    resolved: Resolved,
    /// The version of the image's row, read before the engine was looked at.
    version: i64,
    /// Whether that was when the pull was recorded, before the engine's pull.
    at_record: bool,
}

/// Everything up to the settle; dropping it cancels the engine's pull unless others joined it. `earlier` is what the engine
/// has pulled already, where the image's row has changed since: with true, the engine is looked at once more first.
async fn arrive(run: &Arc<JobRun>, earlier: Option<(Resolved, bool)>) -> Result<Fetched, RunError> {
    let reference = ImageReference::parse(&run.job.reference).map_err(|error| {
        JobFailure::fail(
            JobErrorCode::Internal,
            format!("the stored reference cannot be read: {error}"),
        )
    })?;
    if let Some((resolved, true)) = &earlier {
        let inspecting = inspect(run, &reference, resolved.clone(), None);
        if let Some(fetched) = timed("inspect", inspecting).await? {
            return Ok(fetched);
        }
    }
    let resolved = match earlier {
        Some((resolved, _)) => resolved,
        None => timed("resolve", resolve(run, &reference)).await?,
    };
    let present = timed("record", Box::pin(record_and_hold(run, &resolved))).await?;
    let transferred = Box::pin(proved_transfer(run, &reference, &resolved, &present));
    let image = timed("transfer", transferred).await?;
    let inspecting = inspect(run, &reference, resolved, Some((image, present.version)));
    let fetched = timed("inspect", inspecting).await?;
    let message = "the engine pulled the image and then did not have it";
    let gone = || JobFailure::retry(JobErrorCode::ImageNotFound, message).into();
    fetched.ok_or_else(gone)
}

/// How often an engine may pull nothing because it has the image: it can lose it in between, and pull it the next time.
const IMAGE_SEEN_THERE: u32 = 3;

/// The engine's pull, between the proofs that the caller may have what the engine has already: before it for what is known
/// to be there, and after it for what the engine found there.
async fn proved_transfer(
    run: &JobRun,
    reference: &ImageReference,
    resolved: &Resolved,
    present: &Presence,
) -> Result<EngineImage, RunError> {
    let begin = |had: Option<EngineImage>| async move {
        Proof::begin(run, reference, resolved, had.as_ref(), present.brought).await
    };
    let begin_anew = || async move {
        let now_there = run.context.engine.inspect(&resolved.image_id).await?;
        begin(now_there).await
    };
    let mut proof = Box::pin(begin(present.image.clone())).await?;
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
                proof = Box::pin(begin_anew()).await?;
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
        let mut recorded = Box::pin(proof.record(run, reference, resolved)).await?;
        if recorded.is_none() {
            // Another repository had to do with it meanwhile. Now all is there, and all is proved.
            proof = Box::pin(begin_anew()).await?;
            recorded = Box::pin(proof.record(run, reference, resolved)).await?;
        }
        let Some(image) = recorded else {
            let message = "other pulls bring the same layers from elsewhere";
            return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
        };
        run.report(proof.counted(last));
        return Ok(image);
    }
}

/// How often the image is looked for, or tagged, before the pull is given up until its next attempt.
const LOOKS: u32 = 10;

/// Looks at the image on the engine and gives it the tag that was asked for. None where the engine does not have it.
/// `recorded` is the image as it was seen since the pull was recorded, with the version that its row had then.
async fn inspect(
    run: &JobRun,
    reference: &ImageReference,
    resolved: Resolved,
    mut recorded: Option<(EngineImage, i64)>,
) -> Result<Option<Fetched>, RunError> {
    let engine = &run.context.engine;
    let mut snapshot = run.frame().snapshot;
    snapshot.phase = PullPhase::Settling;
    run.report(snapshot);
    for _ in 0..LOOKS {
        let at_record = recorded.is_some();
        let (image, version) = if let Some(recorded) = recorded.take() {
            recorded
        } else {
            let Some(image) = engine.inspect(&resolved.pinned(reference)).await? else {
                return Ok(None);
            };
            let services = &run.context.services;
            let version = lock::settled_version(services, run.host_id, &image.id).await?;
            (image, version)
        };
        let tagged = is_tagged(&image, reference);
        if !tagged {
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
        // Seen after the version was read: it was there at that version or later.
        let confirmed = if at_record && tagged {
            Some(image)
        } else {
            engine.inspect(&image.id).await?
        };
        // A removal that was waited for before the version was read may have taken the tag that was seen before.
        let confirmed = confirmed.filter(|image| !tagged || is_tagged(image, reference));
        if let Some(image) = confirmed {
            return Ok(Some(Fetched {
                image,
                resolved,
                version,
                at_record,
            }));
        }
    }
    let message = "the image and its tag came and went while the pull was settled";
    Err(JobFailure::retry(JobErrorCode::ImageNotFound, message).into())
}

/// Whether the tag that was asked for means the image already. A digest needs no tag.
fn is_tagged(image: &EngineImage, reference: &ImageReference) -> bool {
    let name = format!(
        "{}:{}",
        reference.name(),
        reference.tag().unwrap_or("latest")
    );
    let mut tags = image.repo_tags.iter();
    reference.digest().is_some() || tags.any(|tag| same_reference(tag, &name))
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

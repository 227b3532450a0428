//! The engine's pull, or that of another job for the same thing, followed to its end.

use wharfinger_entity::{ImageReference, JobErrorCode};

use super::run::pinned;
use crate::engine::PullName;
use crate::error::JobFailure;
use crate::progress::ProgressTracker;
use crate::registry::Manifest;
use crate::worker::run::{ENGINE_PAUSE, JobRun, RunError, engine_failure};

/// Lets the engine pull, or joins the pull of another job, and reports what arrives.
pub(super) async fn transfer(
    run: &JobRun,
    reference: &ImageReference,
    manifest: &Manifest,
) -> Result<(), RunError> {
    // By digest: the tag may mean another image by now, of which nothing was recorded.
    let name = PullName::new(&reference.name(), None, Some(&manifest.digest));
    let pinned = pinned(reference, manifest);
    let layers = manifest
        .layers
        .iter()
        .map(|layer| (layer.digest.clone(), layer.size))
        .collect();
    let tracker = ProgressTracker::new(layers);
    let (transfer, joined) = run
        .parts
        .transfers
        .join(&run.parts.engine, &pinned, &name, tracker);
    if joined {
        tracing::info!("joined a transfer that was under way");
        metrics::counter!("wharfinger_transfers_joined_total").increment(1);
        if let Some(place) = transfer.place() {
            place.link(&tracing::Span::current());
        }
    }
    tracing::Span::current().record("wharfinger.transfer.joined", joined);
    let stall = run.parts.services.settings.worker.stall_timeout;
    let mut state = transfer.state();
    loop {
        let (snapshot, ended) = {
            let state = state.borrow_and_update();
            (state.snapshot.clone(), state.ended.clone())
        };
        run.report(snapshot);
        match ended {
            Some(Ok(())) => return Ok(()),
            Some(Err(error)) => return Err(engine_failure(&error).into()),
            None => {}
        }
        let changed = tokio::time::timeout(stall, state.changed()).await;
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                return Err(JobFailure::retry(
                    JobErrorCode::Internal,
                    "the transfer ended without a result",
                )
                .into());
            }
            // Nothing comes because the engine is gone, which is nobody's fault who waits for it.
            Err(_) if !*run.parts.engine_answers.borrow() => {
                let message = "the Docker engine fell silent in the middle of the pull";
                return Err(JobFailure::retry_free(
                    JobErrorCode::EngineUnavailable,
                    message,
                    ENGINE_PAUSE,
                )
                .into());
            }
            Err(_) => {
                let message = format!("no progress for {}", humantime::format_duration(stall));
                return Err(JobFailure::retry(JobErrorCode::Stalled, message).into());
            }
        }
    }
}

//! The engine's pull, or that of another job for the same thing, followed to its end.

use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument as _;
use wharfinger_entity::{ImageReference, JobErrorCode};

use super::proof::Proof;
use super::resolve::{Resolved, login_of, registry_failure};
use crate::attempt::JobRun;
use crate::attempt::transfers::{Brought, Next};
use crate::engine::{EngineError, EngineLogin, PullName};
use crate::engine_images::error::{ENGINE_PAUSE, RunError, engine_failure};
use crate::error::JobFailure;
use crate::infra::trace;
use crate::progress::{ProgressTracker, PullPhase, PullSnapshot};

/// Lets the engine pull, or joins the pull of another job, and reports what arrives. Returns what came, and the progress at
/// the end, which is not reported: first it has to be proved.
pub(super) async fn transfer(
    run: &JobRun,
    reference: &ImageReference,
    resolved: &Resolved,
    proof: &Proof,
    present: bool,
) -> Result<(Arc<Brought>, PullSnapshot), RunError> {
    let login = prepare(run, reference, resolved, present).await?;
    // By digest: the tag may mean another image by now, of which nothing was recorded.
    let name = PullName::new(&reference.name(), None, Some(&resolved.pulled_digest));
    let pinned = resolved.pinned(reference);
    let tracker = ProgressTracker::new(resolved.layers());
    let (engine, watched) = (&run.context.engine, proof.watched_ids());
    let transfers = &run.context.transfers;
    let (transfer, joined) =
        transfers.join(engine, &pinned, &name, login.as_ref(), tracker, watched);
    if joined {
        tracing::info!("joined a transfer that was under way");
        metrics::counter!("wharfinger_transfers_joined_total").increment(1);
        if let Some(place) = transfer.place() {
            place.link(&tracing::Span::current());
        }
    }
    tracing::Span::current().record("wharfinger.transfer.joined", joined);
    let mut following = transfer.follow();
    loop {
        match following.next().await {
            Next::State(state) => match state.ended {
                Some(Ok(brought)) => return Ok((brought, at_the_end(state.snapshot, resolved))),
                Some(Err(error)) => {
                    run.report(proof.counted(state.snapshot));
                    return Err(transfer_failure(&error, joined).into());
                }
                None => run.report(proof.counted(state.snapshot)),
            },
            Next::Vanished => {
                let message = "the transfer ended without a result";
                return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
            }
            // The engine is unreachable. The retry is free, because the pull did not cause that.
            Next::Stalled if !*run.context.engine_answers.borrow() => {
                let message = "the Docker engine fell silent in the middle of the pull";
                return Err(JobFailure::retry_free(
                    JobErrorCode::EngineUnavailable,
                    message,
                    ENGINE_PAUSE,
                )
                .into());
            }
            Next::Stalled => {
                let stall = run.context.services.settings.worker.stall_timeout;
                let message = format!("no progress for {}", humantime::format_duration(stall));
                return Err(JobFailure::retry(JobErrorCode::Stalled, message).into());
            }
        }
    }
}

/// The progress of a transfer that has ended. The engine reports no more progress once it finds a layer that it was to fetch.
fn at_the_end(snapshot: PullSnapshot, resolved: &Resolved) -> PullSnapshot {
    if snapshot.phase >= PullPhase::Settling {
        return snapshot;
    }
    let now = Instant::now();
    let mut tracker = ProgressTracker::new(resolved.layers());
    tracker.finish(now);
    tracker.snapshot(now)
}

/// Checks what must hold before the engine connects to the registry itself. Fails if the registry's addresses, or those that it
/// redirects to, are not permitted, or if the login that read the manifest was deleted. Redirects are not checked for an
/// image that is `present`: the engine fetches nothing. Returns the login for the engine; none for an anonymous pull.
async fn prepare(
    run: &JobRun,
    reference: &ImageReference,
    resolved: &Resolved,
    present: bool,
) -> Result<Option<EngineLogin>, RunError> {
    let registry = reference.registry();
    let vetted = run.context.registry.vet(registry).await;
    vetted.map_err(|error| registry_failure(&error))?;
    let login = login_of(run, reference, resolved.with_login).await?;
    if !present {
        let (client, manifest) = (&run.context.registry, &resolved.manifest);
        let probed = client.probe(registry, reference.repository(), manifest, login.as_ref());
        let probed = probed.instrument(trace::phase("probe")).await;
        probed.map_err(|forbidden| registry_failure(&forbidden.into()))?;
    }
    Ok(login.map(|login| login.for_engine(registry)))
}

/// The error of an attempt whose transfer failed. A blob that the engine does not find is retried: the registry had the
/// manifest a moment ago, and the next attempt reads it again. A denial is retried by a job that `joined` the transfer: the
/// registry refused the login of the job that started it.
fn transfer_failure(error: &EngineError, joined: bool) -> JobFailure {
    match error {
        EngineError::NotFound(message) => {
            JobFailure::retry(JobErrorCode::ImageNotFound, message.clone())
        }
        EngineError::Denied(message) if joined => {
            JobFailure::retry(JobErrorCode::RegistryDenied, message.clone())
        }
        error => engine_failure(error),
    }
}

//! What a worker does with a pull: read the manifest upstream, record what the engine has, let the engine pull, settle.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter,
    QuerySelect,
};
use wharfinger_entity::{Credits, ImageReference, JobErrorCode, engine_image, job};

use crate::claim;
use crate::credits::Account;
use crate::custody::{self, Observation};
use crate::db::in_transaction;
use crate::engine::{EngineImage, PullName, same_reference};
use crate::error::{JobFailure, ServiceError};
use crate::holdings;
use crate::outcome::Outcome;
use crate::progress::{ProgressTracker, PullPhase};
use crate::pull_image::settle::{Arrived, Settled, settle};
use crate::registry::{Manifest, Platform, RegistryError};
use crate::worker::run::{JobRun, RunError, engine_failure};

/// Unpacked bytes expected of a compressed byte, where the exact size is not known: what common images measure.
const UNPACKED_PER_COMPRESSED: f64 = 2.5;

/// Compressed bytes never unpack to fewer than this share of themselves.
const LEAST_UNPACKED_PER_COMPRESSED: f64 = 0.99;

/// How long a registry that limits its use without saying for how long is left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Runs one attempt. Returns what is left to be recorded: nothing where the settle did.
pub(crate) async fn run(run: &Arc<JobRun>) -> Result<Option<Outcome>, RunError> {
    let timeout = run.parts.services.settings.worker.pull_timeout;
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let arrived = tokio::select! {
            biased;
            outcome = run.interrupted() => return Ok(outcome),
            arrived = tokio::time::timeout_at(deadline, fetch(run)) => arrived.unwrap_or_else(|_| {
                let message = format!("the pull took longer than {}", humantime::format_duration(timeout));
                Err(JobFailure::retry(JobErrorCode::TimedOut, message).into())
            })?,
        };
        // From here on nothing interrupts: the settle happens whole or not at all.
        let arrived_now = Arrived {
            host_id: run.host_id,
            image: &arrived.image,
            digest: Some(arrived.digest),
            version: arrived.version,
            frame: &run.frame(),
        };
        match settle(&run.parts.services, &run.lease, &arrived_now).await? {
            Settled::Done { job, let_go } => {
                tidy(run, job.as_ref(), let_go).await;
                return Ok(None);
            }
            Settled::NotOurs => return Ok(None),
            Settled::Cancelled => return Ok(Some(Outcome::Cancelled)),
            Settled::LookAgain => {}
            Settled::TooExpensive { needed, available } => {
                put_tag_back(run, &arrived.image).await?;
                let message =
                    format!("the image costs {needed} credits, and {available} are available");
                return Err(JobFailure::fail(JobErrorCode::InsufficientCredits, message).into());
            }
        }
    }
}

/// What the engine has after its pull.
struct Fetched {
    image: EngineImage,
    digest: String,
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
    let manifest = resolve(run, &reference).await?;
    record_and_hold(run, &manifest).await?;
    transfer(run, &reference, &manifest).await?;
    inspect(run, &manifest).await
}

async fn resolve(run: &JobRun, reference: &ImageReference) -> Result<Manifest, RunError> {
    let platform = run.parts.info.borrow().as_ref().map_or_else(
        || Platform::new("linux", std::env::consts::ARCH, None),
        |info| Platform::new(&info.os, &info.architecture, info.variant.as_deref()),
    );
    let wanted = reference.digest().map_or_else(
        || reference.tag().unwrap_or("latest"),
        |digest| digest.as_str(),
    );
    run.parts
        .registry
        .manifest(
            reference.registry(),
            reference.repository(),
            wanted,
            None,
            &platform,
        )
        .await
        .map_err(|error| registry_failure(&error).into())
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

/// Records what the engine has before it is asked for anything, and moves the hold to the expected charge: one
/// transaction, looked at again as long as the image's row changes in between.
async fn record_and_hold(run: &JobRun, manifest: &Manifest) -> Result<(), RunError> {
    let services = &run.parts.services;
    let engine = &run.parts.engine;
    let version = || custody::settled_version(services, run.host_id, &manifest.config_digest);
    let (mut version_before, known) = tokio::try_join!(
        async { version().await.map_err(ServiceError::from) },
        known_size(run, manifest)
    )?;
    loop {
        let (image, tag) = tokio::try_join!(
            engine.inspect(&manifest.config_digest),
            engine.inspect(&run.job.reference)
        )?;
        let seen = Observation {
            version: version_before,
            present: image.is_some(),
            tag_means: tag.map(|image| image.id),
        };
        let recorded = in_transaction!(services.db, |tx| {
            let now = services.clock.now();
            let row = custody::record(
                &tx,
                run.host_id,
                &manifest.config_digest,
                &run.job.reference,
                &seen,
                now,
            )
            .await?;
            let Some(row) = row else {
                return Ok::<_, ServiceError>(Recorded::LookAgain);
            };
            let Some(job) = claim::fenced(&tx, &run.lease).await? else {
                return Ok(Recorded::NotOurs);
            };
            let mut account = Account::lock(&tx, job.user_id, now).await?;
            let cost = expect_cost(&tx, &account, &job, &row, manifest, known).await?;
            let most = job.held.micro().saturating_add(account.available().micro());
            if cost.least > most {
                return Ok(Recorded::TooExpensive {
                    least: cost.least,
                    most,
                });
            }
            let mut changed = job.clone().into_active_model();
            let hold = Credits::from_micro(cost.expected.clamp(0, most));
            account.set_hold(&mut changed, job.held, hold)?;
            changed.engine_image_id = Set(Some(row.id));
            if job.tag_before.is_none() {
                changed.tag_before = Set(Some(seen.tag_means.clone().unwrap_or_default()));
            }
            changed.update(&tx).await?;
            account.save().await?;
            Ok(Recorded::Yes)
        })?;
        match recorded {
            Recorded::Yes => {
                crate::announce::balance_changed(&services.events, run.job.user_id);
                return Ok(());
            }
            Recorded::LookAgain => version_before = version().await?,
            // The lease keeper has found out too, or is about to.
            Recorded::NotOurs => return std::future::pending().await,
            Recorded::TooExpensive { least, most } => {
                let message = format!(
                    "the image costs at least {} credits, and {} are available",
                    Credits::from_micro(least),
                    Credits::from_micro(most)
                );
                return Err(JobFailure::fail(JobErrorCode::InsufficientCredits, message).into());
            }
        }
    }
}

enum Recorded {
    Yes,
    LookAgain,
    NotOurs,
    TooExpensive { least: i64, most: i64 },
}

/// In micro-credits, less what the pull gives back.
struct Cost {
    expected: i64,
    least: i64,
}

async fn expect_cost(
    tx: &sea_orm::DatabaseTransaction,
    account: &Account<'_>,
    job: &job::Model,
    row: &engine_image::Model,
    manifest: &Manifest,
    known: Option<i64>,
) -> Result<Cost, ServiceError> {
    if account.payment_for(row.id).await?.is_some() {
        return Ok(Cost {
            expected: 0,
            least: 0,
        });
    }
    let old = holdings::of_reference(tx, job.user_id, row.host_id, &job.reference).await?;
    let gives_back = match old {
        Some(old) if old.engine_image_id != row.id && holdings::is_last_of(tx, &old).await? => {
            account
                .payment_for(old.engine_image_id)
                .await?
                .map_or(0, |payment| payment.amount.micro())
        }
        _ => 0,
    };
    let cost = |factor: f64| {
        known.unwrap_or_else(|| scaled(manifest.compressed_size, factor)) - gives_back
    };
    Ok(Cost {
        expected: cost(UNPACKED_PER_COMPRESSED),
        least: cost(LEAST_UNPACKED_PER_COMPRESSED),
    })
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "an estimate"
)]
fn scaled(bytes: u64, factor: f64) -> i64 {
    (bytes as f64 * factor) as i64
}

/// The exact unpacked size, where some host of the fleet has had this image id.
async fn known_size(run: &JobRun, manifest: &Manifest) -> Result<Option<i64>, ServiceError> {
    Ok(engine_image::Entity::find()
        .select_only()
        .column(engine_image::Column::Size)
        .filter(engine_image::Column::ImageId.eq(&manifest.config_digest))
        .filter(engine_image::Column::Size.gt(0))
        .limit(1)
        .into_tuple::<i64>()
        .one(run.parts.services.db.read())
        .await?)
}

/// Lets the engine pull, or joins the pull of another job, and reports what arrives.
async fn transfer(
    run: &JobRun,
    reference: &ImageReference,
    manifest: &Manifest,
) -> Result<(), RunError> {
    let name = PullName::new(
        &reference.name(),
        reference.tag(),
        reference.digest().map(|digest| digest.as_str()),
    );
    let layers = manifest
        .layers
        .iter()
        .map(|layer| (layer.digest.clone(), layer.size))
        .collect();
    let tracker = ProgressTracker::new(layers);
    let (transfer, joined) =
        run.parts
            .transfers
            .join(&run.parts.engine, &run.job.reference, &name, tracker);
    if joined {
        tracing::info!("joined a transfer that was under way");
        metrics::counter!("wharfinger_transfers_joined_total").increment(1);
    }
    let stall = run.parts.services.settings.worker.stall_timeout;
    let mut state = transfer.state();
    loop {
        let (snapshot, ended, heard_now) = {
            let state = state.borrow_and_update();
            (state.snapshot.clone(), state.ended.clone(), state.heard)
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
            // Events that changed nothing worth telling still show that the engine is at work.
            Err(_) if state.borrow().heard != heard_now => {}
            Err(_) => {
                let message = format!("no progress for {}", humantime::format_duration(stall));
                return Err(JobFailure::retry(JobErrorCode::Stalled, message).into());
            }
        }
    }
}

/// What the engine has under the reference now.
async fn inspect(run: &JobRun, manifest: &Manifest) -> Result<Fetched, RunError> {
    let engine = &run.parts.engine;
    let mut snapshot = run.frame().snapshot;
    snapshot.phase = PullPhase::Settling;
    run.report(snapshot);
    loop {
        let Some(image) = engine.inspect(&run.job.reference).await? else {
            let message = "the engine pulled the image and then did not have it";
            return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
        };
        let services = &run.parts.services;
        let version = custody::settled_version(services, run.host_id, &image.id).await?;
        // Looked at again after the version was read: what is confirmed now was there at that version or later.
        if engine.inspect(&image.id).await?.is_some() {
            return Ok(Fetched {
                image,
                digest: manifest.digest.clone(),
                version,
            });
        }
    }
}

/// A tag that a pull moved and that nobody paid for is put back where it was.
async fn put_tag_back(run: &JobRun, image: &EngineImage) -> Result<(), RunError> {
    let services = &run.parts.services;
    let job = job::Entity::find_by_id(run.job.id)
        .one(services.db.read())
        .await?;
    let before = job.and_then(|job| job.tag_before).unwrap_or_default();
    if before.is_empty() || before == image.id {
        return Ok(());
    }
    let moved = image
        .repo_tags
        .iter()
        .any(|tag| same_reference(tag, &run.job.reference));
    let reference: Result<ImageReference, _> = run.job.reference.parse();
    if let (true, Ok(reference)) = (moved, reference)
        && let Some(tag) = reference.tag()
        && run.parts.engine.inspect(&before).await?.is_some()
    {
        run.parts
            .engine
            .tag(&before, &reference.name(), tag)
            .await?;
    }
    Ok(())
}

/// Removes what the user let go of when the tag moved, unless somebody else holds it.
async fn tidy(run: &JobRun, job: &job::Model, let_go: Option<uuid::Uuid>) {
    let expected = run
        .job
        .engine_image_id
        .filter(|id| Some(*id) != job.engine_image_id);
    for id in let_go.into_iter().chain(expected) {
        if let Err(error) = crate::reconcile::one(&run.parts.services, &run.parts.engine, id).await
        {
            tracing::warn!(%error, "could not tidy up after the pull: the reconciler will");
        }
    }
}

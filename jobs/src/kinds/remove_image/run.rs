//! An attempt of a removal.

use sea_orm::EntityTrait;
use tracing::Instrument as _;
use wharfinger_entity::{JobErrorCode, engine_image, image};

use super::{holding_of, settle};
use crate::attempt::{AttemptEnd, JobRun};
use crate::engine::EngineError;
use crate::engine_images::error::{ReconcileError, RunError};
use crate::engine_images::lock::{self, ChangeError, Changes, ImageLock, Presence, Waited};
use crate::engine_images::{removal, tag_rollback};
use crate::error::JobFailure;
use crate::holdings;
use crate::infra::trace;

/// Removes the image from the engine if no other user holds it and Wharfinger brought it, and settles.
pub(super) async fn run(run: &JobRun) -> Result<AttemptEnd, RunError> {
    let services = &run.context.services;
    let held = holding_of(&run.job).one(services.db.read()).await?;
    let Some(holding) = held else {
        return Ok(AttemptEnd::NothingToDo);
    };
    let waited = lock::lock_unless(services, holding.engine_image_id, run.interrupted()).await?;
    let image_lock = match waited {
        Waited::Locked(image_lock) => image_lock,
        Waited::Interrupted(end) => return Ok(end),
        Waited::TimedOut => {
            let message = "the image is busy with another change";
            return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
        }
    };
    let ended = under_lock(run, &image_lock, &holding).await;
    // A settlement gave it back.
    if !matches!(ended, Ok(AttemptEnd::Settled)) {
        lock::unlock(services, &image_lock).await;
    }
    ended
}

async fn under_lock(
    run: &JobRun,
    image_lock: &ImageLock,
    holding: &image::Model,
) -> Result<AttemptEnd, RunError> {
    let services = &run.context.services;
    if let Some(end) = settle::begin(services, &run.lease).await? {
        return Ok(end);
    }
    let changes = Changes {
        services,
        engine: &run.context.engine,
        image_lock,
    };
    let removing = Box::pin(on_engine(run, changes, holding));
    let presence = lock::while_renewing(services, image_lock, removing)
        .instrument(trace::phase("remove"))
        .await
        .map_err(ChangeError::from)??;
    let settled = settle::settle(services, &run.lease, image_lock, presence)
        .instrument(trace::phase("settle"))
        .await?;
    Ok(settled.map_err(ChangeError::from)?)
}

/// Does what is due on the engine, under the image's lock, and says what became of the image.
async fn on_engine(
    run: &JobRun,
    changes: Changes<'_>,
    holding: &image::Model,
) -> Result<Presence, RunError> {
    let db = changes.services.db.read();
    let row = engine_image::Entity::find_by_id(holding.engine_image_id)
        .one(db)
        .await?
        .ok_or_else(|| {
            JobFailure::retry(JobErrorCode::Internal, "the image's record is missing")
        })?;
    // With the image would go the tags that failed pulls left on it, and the record of where they belong.
    tag_rollback::of_image(changes, &row, None)
        .await
        .map_err(not_put_back)?;
    let others: Vec<image::Model> = holdings::of_engine_image(db, row.id)
        .await?
        .into_iter()
        .filter(|other| other.id != holding.id)
        .collect();
    let meant = lock::is_meant(db, row.id, Some(run.job.id)).await?;
    if row.brought && others.is_empty() && !meant {
        return removal::remove(changes, &row).await;
    }
    if !others
        .iter()
        .any(|other| other.reference == holding.reference)
    {
        removal::remove_tag::<RunError>(changes, &row, &holding.reference).await?;
    }
    Ok(Presence::Present)
}

/// The engine's words on another user's pull are not shown to the owner of this job.
fn not_put_back(error: ReconcileError) -> RunError {
    match error {
        ReconcileError::Service(error) => error.into(),
        ReconcileError::LockLost(lost) => ChangeError::from(lost).into(),
        ReconcileError::Engine(error @ EngineError::Unavailable { .. }) => error.into(),
        ReconcileError::Engine(error) => {
            tracing::warn!(%error, "could not put a tag back before a removal");
            let message = "the image is busy with another change";
            JobFailure::retry(JobErrorCode::Internal, message).into()
        }
    }
}

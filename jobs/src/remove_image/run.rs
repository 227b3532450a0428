//! What a worker does with a removal.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use tracing::Instrument as _;
use wharfinger_entity::{ImageState, JobErrorCode, engine_image, engine_tag, image};

use crate::custody::{self, ChangeError, Changes, Fate, LockLost, Waited};
use crate::engine::{EngineError, EngineName, same_reference};
use crate::error::JobFailure;
use crate::holdings;
use crate::outcome::Outcome;
use crate::pull_image::put_back;
use crate::reconcile::ReconcileError;
use crate::remove_image::settle::{self, Settled};
use crate::trace;
use crate::worker::run::{JobRun, RunError};

/// Removes the image from the engine if nobody else holds it and Wharfinger brought it, and settles. Returns what is
/// left to be recorded, if anything.
pub(crate) async fn run(run: &JobRun) -> Result<Option<Outcome>, RunError> {
    let services = &run.parts.services;
    let holding = match run.job.image_id {
        Some(id) => {
            image::Entity::find_by_id(id)
                .one(services.db.read())
                .await?
        }
        None => None,
    };
    let Some(holding) = holding.filter(|holding| holding.state == ImageState::Held) else {
        return Ok(Some(Outcome::NothingToDo));
    };
    let waited = custody::lock_unless(services, holding.engine_image_id, run.interrupted()).await?;
    let custody = match waited {
        Waited::Locked(custody) => custody,
        Waited::Interrupted(outcome) => return Ok(outcome),
        Waited::InVain => {
            let message = "the image is busy with another change";
            return Err(JobFailure::retry(JobErrorCode::Internal, message).into());
        }
    };
    let begun = settle::begin(services, &run.lease).await;
    if !matches!(begun, Ok(Some(true))) {
        custody::unlock(services, &custody).await;
        return Ok(begun?.map(|_| Outcome::Cancelled));
    }
    let changes = Changes {
        services,
        engine: &run.parts.engine,
        custody: &custody,
    };
    let removing = Box::pin(on_engine(run, changes, &holding));
    let removed = custody::keeping(services, &custody, removing)
        .instrument(trace::phase("remove"))
        .await;
    let settled = match removed {
        Ok(Ok(fate)) => settle::settle(services, &run.lease, &custody, fate)
            .instrument(trace::phase("settle"))
            .await
            .map_err(RunError::from),
        Ok(Err(error)) => Err(error),
        Err(lost) => Err(ChangeError::from(lost).into()),
    };
    if !matches!(settled, Ok(Settled::Done)) {
        custody::unlock(services, &custody).await;
    }
    match settled? {
        Settled::Done | Settled::NotOurs => Ok(None),
        Settled::LockLost => Err(ChangeError::from(LockLost).into()),
    }
}

/// Does what is due on the engine, under the image's lock, and says what became of the image.
async fn on_engine(
    run: &JobRun,
    changes: Changes<'_>,
    holding: &image::Model,
) -> Result<Fate, RunError> {
    let db = changes.services.db.read();
    let row = engine_image::Entity::find_by_id(holding.engine_image_id)
        .one(db)
        .await?
        .ok_or_else(|| {
            JobFailure::retry(JobErrorCode::Internal, "the image's record is missing")
        })?;
    // With the image would go the tags that pulls set on it in vain, and what says where they belong.
    put_back::of_image(changes, &row, None)
        .await
        .map_err(not_put_back)?;
    let others: Vec<image::Model> = holdings::of_engine_image(db, row.id)
        .await?
        .into_iter()
        .filter(|other| other.id != holding.id)
        .collect();
    let meant = custody::is_meant(db, row.id, Some(run.job.id)).await?;
    if row.brought && others.is_empty() && !meant {
        return remove(changes, &row).await;
    }
    if !others
        .iter()
        .any(|other| other.reference == holding.reference)
    {
        remove_tag::<RunError>(changes, &row, &holding.reference).await?;
    }
    Ok(Fate::Stays)
}

/// What an engine says of another user's pull is not for the owner of this job.
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

/// Takes an image that Wharfinger brought off the engine: first the tags that Wharfinger set, then the image by its id,
/// never with force. An image that somebody outside Wharfinger has tagged since stays: it is theirs now.
pub(crate) async fn remove(
    changes: Changes<'_>,
    row: &engine_image::Model,
) -> Result<Fate, RunError> {
    let Changes {
        services, engine, ..
    } = changes;
    let Some(image) = engine.inspect(&row.image_id).await? else {
        return Ok(Fate::Gone);
    };
    let users = engine.containers_using(&row.image_id).await?;
    if !users.is_empty() {
        let message = format!(
            "a container uses the image: {}. Remove it first",
            users.join(", ")
        );
        return Err(JobFailure::fail(JobErrorCode::ImageInUse, message).into());
    }
    let ours: Vec<engine_tag::Model> = engine_tag::Entity::find()
        .filter(engine_tag::Column::EngineImageId.eq(row.id))
        .filter(engine_tag::Column::Brought.eq(true))
        .all(services.db.read())
        .await?;
    let repository = |name: &str| {
        name.rsplit_once('@').map_or_else(
            || {
                name.rsplit_once(':')
                    .map(|(repository, _)| repository.to_owned())
            },
            |(repository, _)| Some(repository.to_owned()),
        )
    };
    let is_ours = |name: &EngineName| {
        ours.iter()
            .any(|ours| same_reference(name, &ours.reference))
    };
    let (mut names, foreign): (Vec<EngineName>, Vec<EngineName>) =
        image.repo_tags.into_iter().partition(is_ours);
    if !foreign.is_empty() {
        for name in &names {
            untag::<RunError>(changes, name, row).await?;
        }
        tracing::info!(image = %row.image_id, names = ?foreign, "others have named the image: it stays on the engine");
        return Ok(Fate::Foreign);
    }
    // The engine refuses to delete an image that has names in two repositories, and counts digests as names. The last
    // repository's names are left to the removal by id, which takes them along and refuses if a container came meanwhile.
    names.extend(image.repo_digests);
    let last = names.first().and_then(|name| repository(name));
    let (of_last, others): (Vec<EngineName>, Vec<EngineName>) =
        names.into_iter().partition(|name| repository(name) == last);
    let further_tags = of_last
        .into_iter()
        .filter(|name| !name.contains('@'))
        .skip(1);
    for name in others.into_iter().chain(further_tags) {
        untag::<RunError>(changes, &name, row).await?;
    }
    match changes.remove_by_id(&row.image_id).await {
        Ok(_) => Ok(Fate::Gone),
        // Somebody outside Wharfinger built an image on it.
        Err(ChangeError::Engine(EngineError::Conflict(_))) => Ok(Fate::Foreign),
        Err(ChangeError::Engine(EngineError::InUse(message))) => {
            Err(JobFailure::fail(JobErrorCode::ImageInUse, message).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes a name off the image, if it still means this image: it may have moved since it was looked at.
async fn untag<E: From<EngineError> + From<ChangeError>>(
    changes: Changes<'_>,
    name: &str,
    row: &engine_image::Model,
) -> Result<(), E> {
    let means = changes.engine.inspect(name).await?;
    if means.is_some_and(|image| image.id == row.image_id) {
        changes.untag(name).await?;
    }
    Ok(())
}

/// Takes a tag that Wharfinger set off an image that stays, while it still means that image and is not its last name:
/// the engine deletes an image with its last name.
pub(crate) async fn remove_tag<E: From<DbErr> + From<EngineError> + From<ChangeError>>(
    changes: Changes<'_>,
    row: &engine_image::Model,
    reference: &str,
) -> Result<(), E> {
    let brought = engine_tag::Entity::find()
        .filter(engine_tag::Column::EngineImageId.eq(row.id))
        .filter(engine_tag::Column::Reference.eq(reference))
        .filter(engine_tag::Column::Brought.eq(true))
        .one(changes.services.db.read())
        .await?;
    let Some(image) = changes.engine.inspect(&row.image_id).await? else {
        return Ok(());
    };
    let resolves = image
        .repo_tags
        .iter()
        .any(|tag| same_reference(tag, reference));
    if brought.is_some() && resolves && image.repo_tags.len() > 1 {
        untag::<E>(changes, reference, row).await?;
    }
    Ok(())
}

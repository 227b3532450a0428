//! Removes an image, or one of its tags, from the engine. Nothing is forced.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use wharfinger_entity::{JobErrorCode, engine_image, engine_tag};

use crate::engine::{EngineError, EngineName, same_reference};
use crate::engine_images::error::RunError;
use crate::engine_images::lock::{ChangeError, Changes, Presence};
use crate::error::JobFailure;

/// Removes an image that Wharfinger brought: first the tags that Wharfinger set, then the image by its id. An image that was
/// tagged outside Wharfinger since stays. Fails with `IMAGE_IN_USE` if a container uses the image.
pub(crate) async fn remove(
    changes: Changes<'_>,
    row: &engine_image::Model,
) -> Result<Presence, RunError> {
    let Changes {
        services, engine, ..
    } = changes;
    let Some(image) = engine.inspect(&row.image_id).await? else {
        return Ok(Presence::Absent);
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
        return Ok(Presence::Foreign);
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
        Ok(()) => Ok(Presence::Absent),
        // An image was built on it outside Wharfinger.
        Err(ChangeError::Engine(EngineError::Conflict(_))) => Ok(Presence::Foreign),
        Err(ChangeError::Engine(EngineError::InUse(message))) => {
            Err(JobFailure::fail(JobErrorCode::ImageInUse, message).into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a name from the image, unless it has been set on another image since it was looked at.
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

/// Removes a tag that Wharfinger set from an image that stays, if it still means that image and is not its last name: the
/// engine deletes an image with its last name.
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

//! A tag that a pull set, and whose pull then came to nothing, goes back to where it was, or away.

use std::time::Duration;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use wharfinger_entity::{ImageReference, JobKind, JobState, engine_image, image, job};

use crate::custody;
use crate::engine::Engine;
use crate::reconcile::ReconcileError;
use crate::remove_image::run::remove_tag;
use crate::services::Services;

/// How long after the end of a pull its tag may still have to go back: nobody is left to do it at once where a pull is
/// cancelled between two attempts, or its worker vanishes in the last.
const LATE: Duration = Duration::from_hours(24);

/// Puts the tag back that this pull, which has ended without its image, may have moved, and takes it off where it meant
/// nothing before: unless somebody holds what it means now, or another pull of it is under way.
pub(crate) async fn put_back(
    services: &Services,
    engine: &Engine,
    job: &job::Model,
) -> Result<(), ReconcileError> {
    let (Some(engine_image_id), Some(_)) = (job.engine_image_id, &job.tag_before) else {
        return Ok(());
    };
    // Whoever has the image lets go of it soon, or lost it with an attempt that was cut off: nobody else puts the tag back.
    let Some(custody) = custody::lock(services, engine_image_id).await? else {
        let busy = format!(
            "the image that {} means was busy for too long",
            job.reference
        );
        return Err(DbErr::Custom(busy).into());
    };
    let moved = async {
        let row = engine_image::Entity::find_by_id(engine_image_id)
            .one(services.db.write())
            .await?;
        match row {
            Some(row) => under_lock(services, engine, job, &row).await,
            None => Ok(()),
        }
    };
    let moved = custody::keeping(services, custody, moved).await;
    custody::unlock(services, custody).await?;
    moved
}

/// Puts back what pulls of an image that nobody holds moved and nobody put back. The image's lock is the caller's.
pub(crate) async fn of_ended(
    services: &Services,
    engine: &Engine,
    row: &engine_image::Model,
) -> Result<(), ReconcileError> {
    let since = services.clock.now().before(LATE);
    let ended = job::Entity::find()
        .filter(job::Column::EngineImageId.eq(row.id))
        .filter(job::Column::Kind.eq(JobKind::PullImage))
        .filter(job::Column::State.is_in([JobState::Failed, JobState::Dead, JobState::Cancelled]))
        .filter(job::Column::FinishedAt.gt(since))
        .filter(job::Column::TagBefore.is_not_null())
        // The newest knows what the tag meant last.
        .order_by_desc(job::Column::Id)
        .all(services.db.read())
        .await?;
    for job in ended {
        under_lock(services, engine, &job, row).await?;
    }
    Ok(())
}

async fn under_lock(
    services: &Services,
    engine: &Engine,
    job: &job::Model,
    row: &engine_image::Model,
) -> Result<(), ReconcileError> {
    let before = job.tag_before.as_deref().unwrap_or_default();
    let reference = job.reference.parse::<ImageReference>().ok();
    let named = reference
        .as_ref()
        .and_then(|reference| Some((reference.name(), reference.tag()?)));
    let Some((name, tag)) = named.filter(|_| row.image_id != before) else {
        return Ok(());
    };
    let holders = image::Entity::find()
        .filter(image::Column::EngineImageId.eq(row.id))
        .filter(image::Column::Reference.eq(&job.reference))
        .filter(image::Column::Live.eq(1))
        .count(services.db.write())
        .await?;
    if holders > 0 || custody::is_meant(services.db.write(), row.id, Some(job.id)).await? {
        return Ok(());
    }
    if before.is_empty() {
        return remove_tag(services, engine, row, &job.reference).await;
    }
    let means = engine.inspect(&job.reference).await?;
    if means.is_some_and(|image| image.id == row.image_id)
        && engine.inspect(before).await?.is_some()
    {
        engine.tag(before, &name, tag).await?;
    }
    Ok(())
}

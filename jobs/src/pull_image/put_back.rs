//! A tag that a pull set, and whose pull then came to nothing, goes back to where it was, or away.

use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};
use wharfinger_entity::{ImageReference, engine_image, image, job};

use crate::custody;
use crate::engine::Engine;
use crate::reconcile::ReconcileError;
use crate::remove_image::run::remove_tag;
use crate::services::Services;

/// Puts the tag back that this pull, which has ended without its image, may have moved, and takes it off where it meant
/// nothing before: unless somebody holds what it means now, or another pull of it is under way.
pub(crate) async fn put_back(
    services: &Services,
    engine: &Engine,
    job: &job::Model,
) -> Result<(), ReconcileError> {
    let (Some(engine_image_id), Some(before)) = (job.engine_image_id, job.tag_before.as_deref())
    else {
        return Ok(());
    };
    let reference = job.reference.parse::<ImageReference>().ok();
    let Some((name, tag)) = reference
        .as_ref()
        .and_then(|reference| Some((reference.name(), reference.tag()?)))
    else {
        return Ok(());
    };
    // Whoever has the image lets go of it soon, or lost it with an attempt that was cut off: nobody else puts the tag back.
    let Some(custody) = custody::lock(services, engine_image_id).await? else {
        tracing::warn!(job.id = %job.id, reference = job.reference, "a tag could not be put back: its image was busy for too long");
        return Ok(());
    };
    let moved = async {
        let row = engine_image::Entity::find_by_id(engine_image_id)
            .one(services.db.write())
            .await?;
        let Some(row) = row.filter(|row| row.image_id != before) else {
            return Ok(());
        };
        let holders = image::Entity::find()
            .filter(image::Column::EngineImageId.eq(engine_image_id))
            .filter(image::Column::Reference.eq(&job.reference))
            .filter(image::Column::Live.eq(1))
            .count(services.db.write())
            .await?;
        if holders > 0
            || custody::is_meant(services.db.write(), engine_image_id, Some(job.id)).await?
        {
            return Ok(());
        }
        if before.is_empty() {
            return remove_tag(services, engine, &row, &job.reference).await;
        }
        let means = engine.inspect(&job.reference).await?;
        if means.is_some_and(|image| image.id == row.image_id)
            && engine.inspect(before).await?.is_some()
        {
            engine.tag(before, &name, tag).await?;
        }
        Ok::<_, ReconcileError>(())
    };
    let moved = custody::keeping(services, custody, moved).await;
    custody::unlock(services, custody).await?;
    moved
}

//! Sets a tag back to the image that it meant before a pull that did not succeed, or removes it.
//!
//! The previous image is recorded with the tag before the engine is asked for anything, and cleared when a pull of the tag
//! is settled or the tag is set back. A tag that has one while no pull of it is under way is orphaned. The job sets it back
//! at its end; the reconciler does if the job was cancelled between two attempts, moved to another host, or lost its worker.

use std::collections::HashSet;

use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{ImageReference, JobKind, engine_image, engine_tag, job};

use crate::engine::{Engine, EngineError};
use crate::engine_images::error::ReconcileError;
use crate::engine_images::lock::{self, ChangeError, Changes};
use crate::engine_images::removal::remove_tag;
use crate::holdings;
use crate::infra::db::Transaction;
use crate::services::Services;

/// Sets the tag of this pull back, from every image on which it is orphaned. `ending` is a live pull that is about to end
/// without success: it does not count as being under way.
pub(crate) async fn of_job(
    services: &Services,
    engine: &Engine,
    job: &job::Model,
    ending: Option<Uuid>,
) -> Result<(), ReconcileError> {
    let Some(host_id) = job.host_id else {
        return Ok(());
    };
    // Not those of live pulls: taking the lock makes every pull of the image look again.
    let set_on: Vec<Uuid> = orphaned_tags(host_id, ending)
        .filter(engine_tag::Column::Reference.eq(&job.reference))
        .into_tuple()
        .all(services.db.write())
        .await?;
    let mut all = Ok(());
    for engine_image_id in set_on {
        // One that is busy, or fails, does not delay the others.
        all = all.and(one(services, engine, engine_image_id, ending).await);
    }
    all
}

async fn one(
    services: &Services,
    engine: &Engine,
    engine_image_id: Uuid,
    ending: Option<Uuid>,
) -> Result<(), ReconcileError> {
    // Another holder releases the lock soon; the lock of an attempt that was cut off runs out.
    let Some(image_lock) = lock::lock(services, engine_image_id).await? else {
        let busy = "an image with a tag to put back was busy for too long";
        return Err(DbErr::Custom(busy.to_owned()).into());
    };
    let changes = Changes {
        services,
        engine,
        image_lock: &image_lock,
    };
    let done = async {
        let row = engine_image::Entity::find_by_id(engine_image_id)
            .one(services.db.write())
            .await?;
        match row {
            Some(row) => of_image(changes, &row, ending).await,
            None => Ok(()),
        }
    };
    let done = lock::while_renewing(services, &image_lock, Box::pin(done)).await;
    lock::unlock(services, &image_lock).await;
    done?
}

/// Sets every orphaned tag of this image back. The caller holds the image's lock.
pub(crate) async fn of_image(
    changes: Changes<'_>,
    row: &engine_image::Model,
    ending: Option<Uuid>,
) -> Result<(), ReconcileError> {
    let db = changes.services.db.write();
    let tags = tags_to_roll_back()
        .filter(engine_tag::Column::EngineImageId.eq(row.id))
        .filter(Expr::not_exists(pulls_under_way(ending)))
        .all(db)
        .await?;
    for tag in tags {
        restore(changes, row, &tag).await?;
        // No pull records it while the lock is held; a pull that settled may have recorded another image.
        engine_tag::Entity::update_many()
            .col_expr(
                engine_tag::Column::PreviousImageId,
                Expr::value(None::<String>),
            )
            .filter(engine_tag::Column::Id.eq(tag.id))
            .filter(engine_tag::Column::PreviousImageId.eq(tag.previous_image_id))
            .exec(db)
            .await?;
    }
    Ok(())
}

/// The ids of the rows of the images on a host that have orphaned tags.
pub(crate) async fn images_to_roll_back(
    services: &Services,
    host_id: Uuid,
) -> Result<HashSet<Uuid>, DbErr> {
    let images = orphaned_tags(host_id, None)
        .into_tuple()
        .all(services.db.write());
    Ok(images.await?.into_iter().collect())
}

/// Records that a pull of the reference was settled on this image: the tag stays here, and is set back to here from every
/// other image on which pulls may have set it. Returns the images on which it is orphaned.
pub(crate) async fn settled(
    tx: &Transaction,
    row: &engine_image::Model,
    reference: &str,
) -> Result<Vec<Uuid>, DbErr> {
    let tags = tags_to_roll_back()
        .filter(engine_tag::Column::HostId.eq(row.host_id))
        .filter(engine_tag::Column::Reference.eq(reference))
        // Two pulls of one tag may settle at once: they go through the rows in one order.
        .order_by_asc(engine_tag::Column::Id)
        .all(tx)
        .await?;
    let mut others = false;
    for tag in tags {
        let meant = (tag.engine_image_id != row.id).then(|| row.image_id.clone());
        others |= meant.is_some();
        engine_tag::Entity::update_many()
            .col_expr(engine_tag::Column::PreviousImageId, Expr::value(meant))
            .filter(engine_tag::Column::Id.eq(tag.id))
            .exec(tx)
            .await?;
    }
    if !others {
        return Ok(Vec::new());
    }
    orphaned_tags(row.host_id, None)
        .filter(engine_tag::Column::Reference.eq(reference))
        .into_tuple()
        .all(tx)
        .await
}

fn tags_to_roll_back() -> sea_orm::Select<engine_tag::Entity> {
    engine_tag::Entity::find().filter(engine_tag::Column::PreviousImageId.is_not_null())
}

/// The images of a host that have orphaned tags. `ending` does not count as being under way.
fn orphaned_tags(host_id: Uuid, ending: Option<Uuid>) -> sea_orm::Select<engine_tag::Entity> {
    tags_to_roll_back()
        .filter(engine_tag::Column::HostId.eq(host_id))
        .filter(Expr::not_exists(pulls_under_way(ending)))
        .select_only()
        .column(engine_tag::Column::EngineImageId)
}

/// The live pulls of a tag for the image that it was set on, except one.
fn pulls_under_way(apart_from: Option<Uuid>) -> SelectStatement {
    use {engine_tag::Column as Tag, job::Column as Job};
    let same = |job: Job, tag: Tag| Expr::col((job::Entity, job)).equals((engine_tag::Entity, tag));
    let mut pulls = Query::select();
    pulls
        .expr(Expr::value(1))
        .from(job::Entity)
        .and_where(same(Job::EngineImageId, Tag::EngineImageId))
        .and_where(same(Job::Reference, Tag::Reference))
        .and_where(Job::Live.eq(1))
        .and_where(Job::Kind.eq(JobKind::PullImage));
    if let Some(id) = apart_from {
        pulls.and_where(Job::Id.ne(id));
    }
    pulls
}

/// Sets the tag on its previous image, if it means this image now. If it meant none, or that image is gone, the tag is
/// removed from this image, unless a user holds the image by it or it is the last name of an image that stays.
async fn restore(
    changes: Changes<'_>,
    row: &engine_image::Model,
    tag: &engine_tag::Model,
) -> Result<(), ReconcileError> {
    let Changes {
        services, engine, ..
    } = changes;
    let before = tag.previous_image_id.as_deref().unwrap_or_default();
    if !before.is_empty() && engine.inspect(before).await?.is_some() {
        let means = engine.inspect(&tag.reference).await?;
        if means.is_none_or(|image| image.id != row.image_id) {
            return Ok(());
        }
        match set(changes, before, &tag.reference).await {
            // Removed since it was looked at.
            Err(ChangeError::Engine(EngineError::NotFound(_))) => {}
            set => return Ok(set?),
        }
    }
    let holdings = holdings::of_engine_image(services.db.write(), row.id).await?;
    if holdings.iter().any(|held| held.reference == tag.reference) {
        return Ok(());
    }
    remove_tag(changes, row, &tag.reference).await
}

/// Sets a reference on an image. A reference without a tag is left as it is.
async fn set(changes: Changes<'_>, image_id: &str, reference: &str) -> Result<(), ChangeError> {
    let reference = ImageReference::parse(reference).ok();
    let named = reference
        .as_ref()
        .and_then(|reference| Some((reference.name(), reference.tag()?)));
    match named {
        Some((name, tag)) => changes.tag(image_id, &name, tag).await,
        None => Ok(()),
    }
}

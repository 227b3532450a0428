//! Records which images containers use.
//!
//! Only the engine knows, and a gateway that accepts a sweep cannot ask it. So each worker records it whenever it reconciles
//! its engine. A container that was started since makes the removal fail with `IMAGE_IN_USE`, which costs nothing.

use std::collections::HashSet;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;
use wharfinger_entity::{Digest, engine_image, image_in_use};

use crate::engine::Engine;
use crate::engine_images::error::ReconcileError;
use crate::error::ServiceError;
use crate::infra::db::in_transaction;
use crate::services::Services;

/// Records which of the known images of a host its containers use at this moment.
pub(crate) async fn record(
    services: &Services,
    engine: &Engine,
    host_id: Uuid,
) -> Result<(), ReconcileError> {
    let by_containers = engine.images_in_use().await?;
    let used = known(services, host_id, by_containers).await?;
    let recorded: HashSet<Uuid> = image_in_use::Entity::find()
        .select_only()
        .column(image_in_use::Column::Id)
        .filter(image_in_use::Column::HostId.eq(host_id))
        .into_tuple()
        .all(services.db.read())
        .await?
        .into_iter()
        .collect();
    if used == recorded {
        return Ok(());
    }
    let now = services.clock.now();
    let changed: Result<(), ServiceError> = in_transaction!(services.db, |tx| {
        image_in_use::Entity::delete_many()
            .filter(image_in_use::Column::HostId.eq(host_id))
            .filter(image_in_use::Column::Id.is_not_in(used.iter().copied()))
            .exec(&tx)
            .await?;
        let new = used
            .difference(&recorded)
            .map(|id| image_in_use::ActiveModel {
                id: Set(*id),
                host_id: Set(host_id),
                seen_at: Set(now),
            });
        for row in new {
            image_in_use::Entity::insert(row)
                // Another worker of the same host saw it too.
                .on_conflict(
                    OnConflict::column(image_in_use::Column::Id)
                        .do_nothing_on([image_in_use::Column::Id])
                        .to_owned(),
                )
                .exec_without_returning(&tx)
                .await?;
        }
        Ok(())
    });
    Ok(changed?)
}

/// The ids of the rows of these images. Images without a row are left out.
async fn known(
    services: &Services,
    host_id: Uuid,
    image_ids: HashSet<Digest>,
) -> Result<HashSet<Uuid>, sea_orm::DbErr> {
    if image_ids.is_empty() {
        return Ok(HashSet::new());
    }
    let known: Vec<Uuid> = engine_image::Entity::find()
        .select_only()
        .column(engine_image::Column::Id)
        .filter(engine_image::Column::HostId.eq(host_id))
        .filter(engine_image::Column::ImageId.is_in(image_ids.into_iter().map(String::from)))
        .into_tuple()
        .all(services.db.read())
        .await?;
    Ok(known.into_iter().collect())
}

//! Records what the engine had before Wharfinger.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait as _, DbBackend, DbErr,
    EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter, Select, TryInsertResult,
    TryIntoModel,
};
use uuid::Uuid;
use wharfinger_entity::{
    Digest, EngineImageStatus, ExposedPorts, Timestamp, engine_image, engine_tag, job,
};

use super::row::unlocked;
use crate::engine::EngineImage;
use crate::infra::db::{Transaction, for_update};
use crate::services::Services;

/// The row of an image id on a host.
pub(crate) async fn find(
    services: &Services,
    host_id: Uuid,
    image_id: &str,
) -> Result<Option<engine_image::Model>, DbErr> {
    row_of(host_id, image_id).one(services.db.write()).await
}

/// The state of the engine just before the first call of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// The version of the row before the engine was looked at.
    pub(crate) version: i64,
    /// Whether the engine has the image id.
    pub(crate) present: bool,
    /// The image id that the reference means on the engine.
    pub(crate) tag_means: Option<Digest>,
    /// Whether the reference was recorded for the image at that version. Rows of references go only with a new version.
    pub(crate) recorded: bool,
}

/// Records durably what the engine had, before Wharfinger asks it for anything. `locked` is the image's row, if the caller has
/// locked it at the version that was seen. Returns none if the row has changed since the engine was looked at: the caller
/// looks again.
///
/// `brought` says whether Wharfinger is to remove the image one day. The first job that looks decides it. It is kept while
/// the image is expected or present, and becomes true when the engine does not have the image, as Wharfinger brings it then.
pub(crate) async fn record(
    tx: &Transaction,
    services: &Services,
    locked: Option<engine_image::Model>,
    (host_id, image_id): (Uuid, &str),
    reference: &str,
    seen: &Observation,
) -> Result<Option<engine_image::Model>, DbErr> {
    let found = if let Some(row) = locked {
        Some((row, false))
    } else {
        let now = services.clock.now();
        let new = engine_image::ActiveModel {
            brought: Set(!seen.present),
            ..new_row(host_id, image_id, EngineImageStatus::Expected, now)
        };
        at_version(tx, services, (host_id, image_id), seen.version, new).await?
    };
    let Some((mut row, made)) = found else {
        return Ok(None);
    };
    let undecided = row.status == EngineImageStatus::Absent || !seen.present;
    if undecided && !made {
        let expected = row.status != EngineImageStatus::Present;
        let version = row.version;
        let mut decided = row.into_active_model();
        decided.brought = Set(!seen.present);
        // Jobs that looked at the engine before this look again.
        decided.version = Set(version + 1);
        if expected {
            decided.status = Set(EngineImageStatus::Expected);
        }
        row = decided.update(tx).await?;
    }
    let was_there = seen.tag_means.as_deref() == Some(image_id);
    if was_there && seen.recorded {
        return Ok(Some(row));
    }
    let previous_image_id = match seen.tag_means.as_deref() {
        Some(_) if was_there => None,
        // If it means an image that other pulls set it on, it goes back to what it meant before them.
        Some(means) => Some(first_previous_image(tx, host_id, reference, means).await?)
            .filter(|first| first != image_id),
        None => Some(String::new()),
    };
    record_tag(tx, &row, made, reference, previous_image_id).await?;
    Ok(Some(row))
}

/// The image id that the reference meant before any pull set it that is not settled. `means` is the image id that it means
/// now.
async fn first_previous_image(
    tx: &Transaction,
    host_id: Uuid,
    reference: &str,
    means: &str,
) -> Result<String, DbErr> {
    let earlier = engine_tag::Entity::find()
        .inner_join(engine_image::Entity)
        .filter(engine_tag::Column::HostId.eq(host_id))
        .filter(engine_tag::Column::Reference.eq(reference))
        .filter(engine_image::Column::ImageId.eq(means))
        .one(tx)
        .await?;
    Ok(earlier
        .and_then(|tag| tag.previous_image_id)
        .unwrap_or_else(|| means.to_owned()))
}

/// Records the tag. `previous_image_id` is what the reference means until it is set on the image: none if it means the
/// image already. A row that was `made` just now has no tags.
async fn record_tag(
    tx: &Transaction,
    row: &engine_image::Model,
    made: bool,
    reference: &str,
    previous_image_id: Option<String>,
) -> Result<(), DbErr> {
    let tag = engine_tag::Entity::find()
        .filter(engine_tag::Column::HostId.eq(row.host_id))
        .filter(engine_tag::Column::Reference.eq(reference))
        .filter(engine_tag::Column::EngineImageId.eq(row.id));
    let tag = if made { None } else { tag.one(tx).await? };
    match tag {
        Some(tag)
            if previous_image_id.is_some()
                && (!tag.brought || tag.previous_image_id != previous_image_id) =>
        {
            let mut tag = tag.into_active_model();
            tag.brought = Set(true);
            tag.previous_image_id = Set(previous_image_id);
            tag.update(tx).await?;
        }
        Some(_) => {}
        None => {
            engine_tag::ActiveModel {
                id: Set(Uuid::now_v7()),
                host_id: Set(row.host_id),
                reference: Set(reference.to_owned()),
                engine_image_id: Set(row.id),
                brought: Set(previous_image_id.is_some()),
                previous_image_id: Set(previous_image_id),
            }
            .insert(tx)
            .await?;
        }
    }
    Ok(())
}

/// The row of an image id, locked. A missing row is made, as of an image that the engine had before, because nothing proves
/// otherwise. Returns none if the row is at another version: the caller looks again.
pub(crate) async fn locked_or_new(
    tx: &Transaction,
    services: &Services,
    host_id: Uuid,
    image: &EngineImage,
    version: i64,
) -> Result<Option<engine_image::Model>, DbErr> {
    let now = services.clock.now();
    let new = new_row(host_id, &image.id, EngineImageStatus::Present, now);
    let row = at_version(tx, services, (host_id, &image.id), version, new).await?;
    Ok(row.map(|(row, _)| row))
}

/// The row of an image id, locked, and whether it was made just now because there was none. Returns none if it is at another
/// version, or if another process holds the image's lock.
async fn at_version(
    tx: &Transaction,
    services: &Services,
    (host_id, image_id): (Uuid, &str),
    version: i64,
    new: engine_image::ActiveModel,
) -> Result<Option<(engine_image::Model, bool)>, DbErr> {
    // Most often there is no row where none was seen.
    if version == 0
        && let Some(row) = make(tx, new).await?
    {
        return Ok(Some((row, true)));
    }
    let unchanged = row_of(host_id, image_id)
        .filter(engine_image::Column::Version.eq(version))
        .filter(unlocked(services));
    let row = for_update(tx, unchanged).one(tx).await?;
    Ok(row.map(|row| (row, false)))
}

/// The row of an image that Wharfinger did not bring and knows nothing else of.
fn new_row(
    host_id: Uuid,
    image_id: &str,
    status: EngineImageStatus,
    now: Timestamp,
) -> engine_image::ActiveModel {
    engine_image::ActiveModel {
        id: Set(Uuid::now_v7()),
        host_id: Set(host_id),
        image_id: Set(image_id.to_owned()),
        status: Set(status),
        brought: Set(false),
        size: Set(0),
        platform: Set(String::new()),
        exposed_ports: Set(ExposedPorts::default()),
        version: Set(0),
        lock_token: Set(None),
        lock_holder: Set(None),
        lock_until: Set(None),
        created_at: Set(now),
    }
}

/// Inserts a row and returns it, locked. Returns none if its image has a row already.
async fn make(
    tx: &Transaction,
    new: engine_image::ActiveModel,
) -> Result<Option<engine_image::Model>, DbErr> {
    use engine_image::Column;
    let row = new.clone().try_into_model()?;
    let inserted = engine_image::Entity::insert(new)
        .on_conflict(
            OnConflict::columns([Column::HostId, Column::ImageId])
                .do_nothing_on([Column::Id])
                .to_owned(),
        )
        .try_insert()
        .exec_without_returning(tx)
        .await?;
    if tx.get_database_backend() == DbBackend::MySql {
        // It counts a row that was there as well.
        let made = engine_image::Entity::find_by_id(row.id);
        return for_update(tx, made).one(tx).await;
    }
    Ok(matches!(inserted, TryInsertResult::Inserted(1)).then_some(row))
}

fn row_of(host_id: Uuid, image_id: &str) -> Select<engine_image::Entity> {
    engine_image::Entity::find()
        .filter(engine_image::Column::HostId.eq(host_id))
        .filter(engine_image::Column::ImageId.eq(image_id))
}

/// Whether a live pull is for this image. The pull `apart_from` does not count.
pub(crate) async fn is_meant(
    tx: &impl sea_orm::ConnectionTrait,
    engine_image_id: Uuid,
    apart_from: Option<Uuid>,
) -> Result<bool, DbErr> {
    let mut meant = job::Entity::find()
        .filter(job::Column::EngineImageId.eq(engine_image_id))
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::Kind.eq(wharfinger_entity::JobKind::PullImage));
    if let Some(job_id) = apart_from {
        meant = meant.filter(job::Column::Id.ne(job_id));
    }
    Ok(meant.count(tx).await? > 0)
}

//! The lock of an image's row.

use std::convert::Infallible;
use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, ExprTrait,
    IntoActiveModel, QueryFilter, QuerySelect,
};
use tokio::time::Instant;
use uuid::Uuid;
use wharfinger_entity::{EngineImageStatus, Timestamp, engine_image, engine_tag};

use super::hold::{ImageLock, LOCK_TIME, held};
use crate::infra::db::{Transaction, for_update};
use crate::services::Services;

/// Longest wait for a lock that another process holds: longer than the lock of a vanished worker may last.
const PATIENCE: Duration = Duration::from_mins(2);

/// Time between two tries to take a lock that another process holds.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Condition: no process holds the lock of the image at this moment.
pub(crate) fn unlocked(services: &Services) -> Condition {
    let until = engine_image::Column::LockUntil;
    Condition::any()
        .add(until.is_null())
        .add(until.into_expr().lt(services.database_time(Duration::ZERO)))
}

/// Takes the lock. Returns none if another process holds it.
pub(crate) async fn try_lock(
    services: &Services,
    engine_image_id: Uuid,
) -> Result<Option<ImageLock>, DbErr> {
    let asked = Instant::now();
    let token = Uuid::new_v4();
    let locked = engine_image::Entity::update_many()
        .col_expr(engine_image::Column::LockToken, Expr::value(token))
        .col_expr(
            engine_image::Column::LockHolder,
            Expr::value(services.worker.as_deref()),
        )
        .col_expr(
            engine_image::Column::LockUntil,
            services.database_time(LOCK_TIME),
        )
        .col_expr(
            engine_image::Column::Version,
            Expr::col(engine_image::Column::Version).add(1),
        )
        .filter(engine_image::Column::Id.eq(engine_image_id))
        .filter(unlocked(services))
        .exec(services.db.write())
        .await?;
    let image_lock = || ImageLock::new(engine_image_id, token, asked + LOCK_TIME);
    Ok((locked.rows_affected == 1).then(image_lock))
}

/// Takes the lock. Waits while another process holds it, and returns none after [`PATIENCE`].
pub(crate) async fn lock(
    services: &Services,
    engine_image_id: Uuid,
) -> Result<Option<ImageLock>, DbErr> {
    match lock_unless(
        services,
        engine_image_id,
        std::future::pending::<Infallible>(),
    )
    .await?
    {
        Waited::Locked(image_lock) => Ok(Some(image_lock)),
        Waited::TimedOut => Ok(None),
        Waited::Interrupted(never) => match never {},
    }
}

/// The outcome of waiting for a lock.
#[derive(Clone, Debug)]
pub(crate) enum Waited<T> {
    /// The caller has the lock.
    Locked(ImageLock),
    /// Another process held it for the whole of [`PATIENCE`].
    TimedOut,
    /// The interruption completed first.
    Interrupted(T),
}

/// Takes the lock as [`lock`] does, unless `interruption` completes before. It is polled only between two tries: a try that
/// is dropped might leave a lock that has no holder.
pub(crate) async fn lock_unless<T>(
    services: &Services,
    engine_image_id: Uuid,
    interruption: impl Future<Output = T>,
) -> Result<Waited<T>, DbErr> {
    let mut interruption = std::pin::pin!(interruption);
    let give_up = Instant::now() + PATIENCE;
    let mut first = true;
    loop {
        tokio::select! {
            biased;
            came = &mut interruption => return Ok(Waited::Interrupted(came)),
            () = std::future::ready(()), if first => first = false,
            () = tokio::time::sleep(LOCK_POLL) => {}
        }
        if let Some(image_lock) = try_lock(services, engine_image_id).await? {
            return Ok(Waited::Locked(image_lock));
        }
        if Instant::now() >= give_up {
            return Ok(Waited::TimedOut);
        }
    }
}

/// The image's row, locked in the transaction that ends the change. None if the lock was lost.
pub(crate) async fn fenced(
    tx: &Transaction,
    services: &Services,
    image_lock: &ImageLock,
) -> Result<Option<engine_image::Model>, DbErr> {
    let row = engine_image::Entity::find().filter(held(services, image_lock));
    for_update(tx, row).one(tx).await
}

/// Whether the engine has the image when its lock is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// The engine has it.
    Present,
    /// The engine has it, and it was tagged or built on outside Wharfinger: Wharfinger will not remove it.
    Foreign,
    /// The engine does not have it, and a live pull is about to bring it.
    Expected,
    /// The engine does not have it.
    Absent,
}

/// Releases the lock and records the image's presence. The tags of an absent image are deleted: the next pull of it looks
/// anew at what the engine has.
pub(crate) async fn release(
    tx: &Transaction,
    row: engine_image::Model,
    presence: Presence,
) -> Result<(), DbErr> {
    if presence == Presence::Absent {
        engine_tag::Entity::delete_many()
            .filter(engine_tag::Column::EngineImageId.eq(row.id))
            .exec(tx)
            .await?;
    }
    let mut row = row.into_active_model();
    match presence {
        Presence::Present => row.status = Set(EngineImageStatus::Present),
        Presence::Foreign => {
            row.status = Set(EngineImageStatus::Present);
            row.brought = Set(false);
        }
        Presence::Expected => {
            row.status = Set(EngineImageStatus::Expected);
            row.brought = Set(true);
        }
        Presence::Absent => row.status = Set(EngineImageStatus::Absent),
    }
    row.lock_token = Set(None);
    row.lock_holder = Set(None);
    row.lock_until = Set(None);
    row.update(tx).await?;
    Ok(())
}

/// Waits until no process holds the image's lock, for [`PATIENCE`] at most, and returns the row's version. Returns 0 for an
/// image without a row.
pub(crate) async fn settled_version(
    services: &Services,
    host_id: Uuid,
    image_id: &str,
) -> Result<i64, DbErr> {
    let mut waited = Duration::ZERO;
    loop {
        let row: Option<(i64, Option<Timestamp>, Timestamp)> = engine_image::Entity::find()
            .select_only()
            .columns([
                engine_image::Column::Version,
                engine_image::Column::LockUntil,
            ])
            .expr(services.database_time(Duration::ZERO))
            .filter(engine_image::Column::HostId.eq(host_id))
            .filter(engine_image::Column::ImageId.eq(image_id))
            .into_tuple()
            .one(services.db.read())
            .await?;
        match row {
            Some((_, Some(until), now)) if until >= now && waited < PATIENCE => {
                tokio::time::sleep(LOCK_POLL).await;
                waited += LOCK_POLL;
            }
            Some((version, ..)) => return Ok(version),
            None => return Ok(0),
        }
    }
}

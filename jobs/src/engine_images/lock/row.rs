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

use super::hold::{Custody, LOCK_TIME};
use crate::infra::db::{Transaction, for_update};
use crate::services::Services;

/// How long another's lock is waited for, as seen between two tries: longer than the lock of a vanished worker may last.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often a lock that somebody else has is looked at again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// That no process holds the lock of an image at this moment.
pub(crate) fn unlocked(services: &Services) -> Condition {
    let until = engine_image::Column::LockUntil;
    Condition::any()
        .add(until.is_null())
        .add(until.into_expr().lt(services.database_time(Duration::ZERO)))
}

/// That this lock is held at this moment. One that ran out does not count, even if no other process took it since: a settle
/// may have gone past it.
pub(super) fn held(services: &Services, custody: &Custody) -> Condition {
    let until = engine_image::Column::LockUntil.into_expr();
    Condition::all()
        .add(engine_image::Column::Id.eq(custody.engine_image_id))
        .add(engine_image::Column::LockToken.eq(custody.token))
        .add(until.gte(services.database_time(Duration::ZERO)))
}

/// Takes the lock if it is free.
pub(crate) async fn try_lock(
    services: &Services,
    engine_image_id: Uuid,
) -> Result<Option<Custody>, DbErr> {
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
    let custody = || Custody::new(engine_image_id, token, asked + LOCK_TIME);
    Ok((locked.rows_affected == 1).then(custody))
}

/// Takes the lock, waiting for whoever has it; not for ever.
pub(crate) async fn lock(
    services: &Services,
    engine_image_id: Uuid,
) -> Result<Option<Custody>, DbErr> {
    match lock_unless(
        services,
        engine_image_id,
        std::future::pending::<Infallible>(),
    )
    .await?
    {
        Waited::Locked(custody) => Ok(Some(custody)),
        Waited::InVain => Ok(None),
        Waited::Interrupted(never) => match never {},
    }
}

/// What came of waiting for a lock.
#[derive(Clone, Debug)]
pub(crate) enum Waited<T> {
    /// It is the caller's.
    Locked(Custody),
    /// Somebody else had it all the time.
    InVain,
    /// Something else came first.
    Interrupted(T),
}

/// The same, unless something else comes before. It is looked at only between two tries: to drop one that is under way might
/// leave behind a lock that nobody has.
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
        if let Some(custody) = try_lock(services, engine_image_id).await? {
            return Ok(Waited::Locked(custody));
        }
        if Instant::now() >= give_up {
            return Ok(Waited::InVain);
        }
    }
}

/// The locked row inside the transaction that ends what the lock was for; none when the lock was lost.
pub(crate) async fn fenced(
    tx: &Transaction,
    services: &Services,
    custody: &Custody,
) -> Result<Option<engine_image::Model>, DbErr> {
    let row = engine_image::Entity::find().filter(held(services, custody));
    for_update(tx, row).one(tx).await
}

/// What is known of an image when its lock is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there.
    Stays,
    /// It is there, and somebody outside Wharfinger has named it or built on it: it is theirs now.
    Foreign,
    /// It is gone, and a live job means to bring it.
    Awaited,
    /// It is gone.
    Gone,
}

/// Gives the lock back in the transaction that it was for, with what is known of the image now. The tags of an image
/// that is gone are forgotten: whoever brings it again looks anew at what the engine had.
pub(crate) async fn conclude(
    tx: &Transaction,
    row: engine_image::Model,
    fate: Fate,
) -> Result<(), DbErr> {
    if fate == Fate::Gone {
        engine_tag::Entity::delete_many()
            .filter(engine_tag::Column::EngineImageId.eq(row.id))
            .exec(tx)
            .await?;
    }
    let mut row = row.into_active_model();
    match fate {
        Fate::Stays => row.status = Set(EngineImageStatus::Present),
        Fate::Foreign => {
            row.status = Set(EngineImageStatus::Present);
            row.brought = Set(false);
        }
        Fate::Awaited => {
            row.status = Set(EngineImageStatus::Expected);
            row.brought = Set(true);
        }
        Fate::Gone => row.status = Set(EngineImageStatus::Absent),
    }
    row.lock_token = Set(None);
    row.lock_holder = Set(None);
    row.lock_until = Set(None);
    row.update(tx).await?;
    Ok(())
}

/// The version at which nobody has the lock, waited for; 0 for an image that was never heard of.
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
            .one(services.db.write())
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

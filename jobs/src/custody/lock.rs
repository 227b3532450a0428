//! The lock of an image's row.

use std::convert::Infallible;
use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, DatabaseTransaction, DbErr,
    EntityTrait, ExprTrait, IntoActiveModel, QueryFilter,
};
use tokio::time::Instant;
use uuid::Uuid;
use wharfinger_entity::{EngineImageStatus, Timestamp, engine_image, engine_tag};

use super::record::find;
use crate::db::for_update;
use crate::services::Services;

/// How long a lock counts without a sign of life: soon after its worker vanished, somebody else goes on.
const LOCK_TIME: Duration = Duration::from_secs(15);

/// How long somebody else's lock is waited for, as seen between two tries: longer than the engine calls made under it may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// How often a lock that somebody else has is looked at again.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// The lock of an engine's image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Custody {
    pub(crate) engine_image_id: Uuid,
    token: Uuid,
}

fn unlocked(now: Timestamp) -> Condition {
    Condition::any()
        .add(engine_image::Column::LockUntil.is_null())
        .add(engine_image::Column::LockUntil.lt(now))
}

/// Whether nobody changes the image at this moment.
pub(crate) fn is_at_rest(row: &engine_image::Model, now: Timestamp) -> bool {
    row.lock_until.is_none_or(|until| until < now)
}

/// Takes the lock if it is free.
pub(crate) async fn try_lock(
    services: &Services,
    engine_image_id: Uuid,
) -> Result<Option<Custody>, DbErr> {
    let now = services.clock.now();
    let token = Uuid::new_v4();
    let locked = engine_image::Entity::update_many()
        .col_expr(engine_image::Column::LockToken, Expr::value(token))
        .col_expr(
            engine_image::Column::LockUntil,
            Expr::value(now.after(LOCK_TIME)),
        )
        .col_expr(
            engine_image::Column::Version,
            Expr::col(engine_image::Column::Version).add(1),
        )
        .filter(engine_image::Column::Id.eq(engine_image_id))
        .filter(unlocked(now))
        .exec(services.db.write())
        .await?;
    Ok((locked.rows_affected == 1).then_some(Custody {
        engine_image_id,
        token,
    }))
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
#[derive(Clone, Copy, Debug)]
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

/// Does what the lock was taken for, and keeps the lock meanwhile.
pub(crate) async fn keeping<T>(
    services: &Services,
    custody: Custody,
    work: impl Future<Output = T>,
) -> T {
    let keep = async {
        loop {
            tokio::time::sleep(LOCK_TIME / 3).await;
            if let Err(error) = renew(services, custody).await {
                tracing::warn!(%error, "could not renew the lock of an image");
            }
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        never = keep => never,
    }
}

async fn renew(services: &Services, custody: Custody) -> Result<(), DbErr> {
    let until = services.clock.now().after(LOCK_TIME);
    engine_image::Entity::update_many()
        .col_expr(engine_image::Column::LockUntil, Expr::value(until))
        .filter(engine_image::Column::Id.eq(custody.engine_image_id))
        .filter(engine_image::Column::LockToken.eq(custody.token))
        .exec(services.db.write())
        .await?;
    Ok(())
}

/// Gives the lock back, with nothing else changed.
pub(crate) async fn unlock(services: &Services, custody: Custody) -> Result<(), DbErr> {
    engine_image::Entity::update_many()
        .col_expr(engine_image::Column::LockToken, Expr::value(None::<Uuid>))
        .col_expr(
            engine_image::Column::LockUntil,
            Expr::value(None::<Timestamp>),
        )
        .filter(engine_image::Column::Id.eq(custody.engine_image_id))
        .filter(engine_image::Column::LockToken.eq(custody.token))
        .exec(services.db.write())
        .await?;
    Ok(())
}

/// The locked row inside the transaction that ends what the lock was for; none when the lock was lost.
pub(crate) async fn fenced(
    tx: &DatabaseTransaction,
    custody: Custody,
    now: Timestamp,
) -> Result<Option<engine_image::Model>, DbErr> {
    let row = for_update(
        tx,
        engine_image::Entity::find_by_id(custody.engine_image_id),
    )
    .one(tx)
    .await?;
    // One that ran out does not count, even if nobody took it since: a settle may have gone past it.
    Ok(row.filter(|row| {
        row.lock_token == Some(custody.token) && row.lock_until.is_some_and(|until| until >= now)
    }))
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
    tx: &DatabaseTransaction,
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
        let row = find(services, host_id, image_id).await?;
        let now = services.clock.now();
        match row {
            Some(row) if row.lock_until.is_some_and(|until| until >= now) && waited < PATIENCE => {
                tokio::time::sleep(LOCK_POLL).await;
                waited += LOCK_POLL;
            }
            Some(row) => return Ok(row.version),
            None => return Ok(0),
        }
    }
}

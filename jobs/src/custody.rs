//! The (host, image id) row: what the engine had before Wharfinger, and who may change the engine's image at this moment.
//!
//! A removal or a reconciliation takes the row's lock, changes the engine, then commits. A settle takes no lock: it
//! remembers the row's version, looks at the engine, and commits only if the row is unlocked and the version the same.
//! So a settle never confirms an image that is being deleted, and nothing waits on an engine inside a transaction.

use std::time::Duration;

use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, DatabaseTransaction, DbErr,
    EntityTrait, ExprTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
};
use uuid::Uuid;
use wharfinger_entity::{EngineImageStatus, Timestamp, engine_image, engine_tag, job};

use crate::db::for_update;
use crate::engine::EngineImage;
use crate::services::Services;

/// How long a lock counts without a sign of life: soon after its worker vanished, somebody else goes on.
const LOCK_TIME: Duration = Duration::from_secs(15);

/// How long somebody else's lock is waited for: longer than the engine calls made under it may take.
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
    let waiting = async {
        loop {
            if let Some(custody) = try_lock(services, engine_image_id).await? {
                return Ok(custody);
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .ok()
        .transpose()
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
) -> Result<Option<engine_image::Model>, DbErr> {
    let row = for_update(
        tx,
        engine_image::Entity::find_by_id(custody.engine_image_id),
    )
    .one(tx)
    .await?;
    Ok(row.filter(|row| row.lock_token == Some(custody.token)))
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

/// The row of an image id on a host.
pub(crate) async fn find(
    services: &Services,
    host_id: Uuid,
    image_id: &str,
) -> Result<Option<engine_image::Model>, DbErr> {
    engine_image::Entity::find()
        .filter(engine_image::Column::HostId.eq(host_id))
        .filter(engine_image::Column::ImageId.eq(image_id))
        .one(services.db.write())
        .await
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

/// What an observation found on the engine just before the first call of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observation {
    /// The version of the row before the engine was looked at.
    pub(crate) version: i64,
    /// Whether the engine has the image id.
    pub(crate) present: bool,
    /// The image id that the reference means on the engine.
    pub(crate) tag_means: Option<String>,
}

/// Records durably what the engine had, before Wharfinger asks it for anything. None when the image's row changed
/// since the engine was looked at: look again.
///
/// `brought` says who is to remove the image one day. It is decided by the first job that looks, kept while the image is
/// expected or present, and decided anew whenever the engine certainly lacks the image: whoever brings it then is us.
pub(crate) async fn record(
    tx: &DatabaseTransaction,
    host_id: Uuid,
    image_id: &str,
    reference: &str,
    seen: &Observation,
    now: Timestamp,
) -> Result<Option<engine_image::Model>, DbErr> {
    let row = locked_row(tx, host_id, image_id).await?;
    let row = match row {
        Some(row)
            if row.version != seen.version || row.lock_until.is_some_and(|until| until >= now) =>
        {
            return Ok(None);
        }
        Some(row) => {
            let undecided = row.status == EngineImageStatus::Absent || !seen.present;
            if undecided {
                let expected = row.status != EngineImageStatus::Present;
                let mut row = row.into_active_model();
                row.brought = Set(!seen.present);
                if expected {
                    row.status = Set(EngineImageStatus::Expected);
                }
                row.update(tx).await?
            } else {
                row
            }
        }
        None => {
            let new = new_row(host_id, image_id, EngineImageStatus::Expected, now);
            let new = engine_image::ActiveModel {
                brought: Set(!seen.present),
                ..new
            };
            let (row, made) = make(tx, new, host_id, image_id).await?;
            if !made {
                return Ok(None);
            }
            row
        }
    };
    record_tag(
        tx,
        &row,
        reference,
        seen.tag_means.as_deref() == Some(image_id),
    )
    .await?;
    Ok(Some(row))
}

async fn record_tag(
    tx: &DatabaseTransaction,
    row: &engine_image::Model,
    reference: &str,
    was_there: bool,
) -> Result<(), DbErr> {
    let tag = engine_tag::Entity::find()
        .filter(engine_tag::Column::HostId.eq(row.host_id))
        .filter(engine_tag::Column::Reference.eq(reference))
        .filter(engine_tag::Column::EngineImageId.eq(row.id))
        .one(tx)
        .await?;
    match tag {
        Some(tag) if !was_there && !tag.brought => {
            let mut tag = tag.into_active_model();
            tag.brought = Set(true);
            tag.update(tx).await?;
        }
        Some(_) => {}
        None => {
            engine_tag::ActiveModel {
                id: Set(Uuid::now_v7()),
                host_id: Set(row.host_id),
                reference: Set(reference.to_owned()),
                engine_image_id: Set(row.id),
                brought: Set(!was_there),
            }
            .insert(tx)
            .await?;
        }
    }
    Ok(())
}

/// The row of an image id, locked; made when it was never heard of, as one that the engine had before, because nobody
/// can prove otherwise.
pub(crate) async fn locked_or_new(
    tx: &DatabaseTransaction,
    host_id: Uuid,
    image: &EngineImage,
    now: Timestamp,
) -> Result<engine_image::Model, DbErr> {
    if let Some(row) = locked_row(tx, host_id, &image.id).await? {
        return Ok(row);
    }
    let new = new_row(host_id, &image.id, EngineImageStatus::Present, now);
    let (row, _) = make(tx, new, host_id, &image.id).await?;
    Ok(row)
}

/// Nothing is known of the image but that Wharfinger did not bring it.
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
        exposed_ports: Set(serde_json::json!([])),
        version: Set(0),
        lock_token: Set(None),
        lock_until: Set(None),
        created_at: Set(now),
    }
}

/// Inserts a row, unless somebody else did since it was looked for. Returns the row, locked, and whether it is this one.
async fn make(
    tx: &DatabaseTransaction,
    new: engine_image::ActiveModel,
    host_id: Uuid,
    image_id: &str,
) -> Result<(engine_image::Model, bool), DbErr> {
    use engine_image::Column;
    let id = new.id.clone().take();
    engine_image::Entity::insert(new)
        .on_conflict(
            OnConflict::columns([Column::HostId, Column::ImageId])
                .do_nothing_on([Column::Id])
                .to_owned(),
        )
        .try_insert()
        .exec_without_returning(tx)
        .await?;
    let row = locked_row(tx, host_id, image_id).await?.ok_or_else(|| {
        DbErr::RecordNotFound("the row of an image that was just made".to_owned())
    })?;
    let made = Some(row.id) == id;
    Ok((row, made))
}

async fn locked_row(
    tx: &DatabaseTransaction,
    host_id: Uuid,
    image_id: &str,
) -> Result<Option<engine_image::Model>, DbErr> {
    let select = engine_image::Entity::find()
        .filter(engine_image::Column::HostId.eq(host_id))
        .filter(engine_image::Column::ImageId.eq(image_id));
    for_update(tx, select).one(tx).await
}

/// Whether a live job means this image, apart from one.
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

//! Makes the database's images and the engine's agree: an image that the engine lost becomes LOST and is refunded; an image
//! that Wharfinger brought and no user holds is removed; an orphaned tag is set back. What the engine had before Wharfinger
//! is never changed.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wharfinger_entity::{EngineImageStatus, ImageState, JobKind, engine_image, image, job};

use crate::engine::Engine;
use crate::engine_images::error::{ReconcileError, RunError};
use crate::engine_images::lock::{self, Changes, ImageLock, Presence};
use crate::engine_images::removal::remove;
use crate::engine_images::tag_rollback;
use crate::error::ServiceError;
use crate::holdings;
use crate::infra::db::in_transaction;
use crate::live::notify;
use crate::services::Services;

/// Reconciles every image of a host that the database knows and that is not as it should be, or has an orphaned tag. Stops
/// between two images after `stop`.
pub(crate) async fn host(
    services: &Services,
    engine: &Engine,
    host_id: Uuid,
    stop: &CancellationToken,
) -> Result<(), ReconcileError> {
    let on_engine: HashSet<String> = engine
        .list()
        .await?
        .into_iter()
        .map(|image| image.id.into())
        .collect();
    let held: HashSet<Uuid> = image::Entity::find()
        .select_only()
        .column(image::Column::EngineImageId)
        .distinct()
        .filter(image::Column::HostId.eq(host_id))
        .filter(image::Column::Live.eq(1))
        .into_tuple::<Uuid>()
        .all(services.db.read())
        .await?
        .into_iter()
        .collect();
    let meant: HashSet<Uuid> = job::Entity::find()
        .select_only()
        .column(job::Column::EngineImageId)
        .filter(job::Column::HostId.eq(host_id))
        .filter(job::Column::Live.eq(1))
        .filter(job::Column::Kind.eq(JobKind::PullImage))
        .into_tuple::<Option<Uuid>>()
        .all(services.db.read())
        .await?
        .into_iter()
        .flatten()
        .collect();
    let to_roll_back = tag_rollback::images_to_roll_back(services, host_id).await?;
    // An image that is held and marked as absent is looked at too: its holders may have lost it.
    let known = engine_image::Entity::find()
        .filter(engine_image::Column::HostId.eq(host_id))
        .filter(
            Condition::any()
                .add(engine_image::Column::Status.ne(EngineImageStatus::Absent))
                .add(engine_image::Column::Id.is_in(held.iter().copied())),
        )
        .all(services.db.read())
        .await?;
    for row in known {
        if stop.is_cancelled() {
            break;
        }
        let known = Known {
            there: on_engine.contains(&row.image_id),
            held: held.contains(&row.id),
            meant: meant.contains(&row.id),
        };
        let rolls_back = known.there && to_roll_back.contains(&row.id);
        if !rolls_back && known.is_as_it_should_be(&row) {
            continue;
        }
        if let Err(error) = look_at(services, engine, row.id, Look::Periodic).await {
            tracing::warn!(image = %row.image_id, %error, "could not reconcile an image: trying again at the next interval");
        }
    }
    Ok(())
}

/// Why an image is reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// At an interval, or after an event of the engine.
    Periodic,
    /// A job has just ended.
    AfterJob,
}

/// Time after the end of the last pull of an image in which it may still arrive: an engine notices late that its client
/// dropped a pull.
const LATE_ARRIVAL: Duration = Duration::from_mins(1);

/// Reconciles an image that an event of the engine names. An image that is unknown, as it should be, or about to be changed
/// by a pull is left alone and its lock is not taken, because that makes every pull that is about to settle look again.
/// Returns false if another process held the lock.
pub(crate) async fn heard_of(
    services: &Services,
    engine: &Engine,
    host_id: Uuid,
    image_id: &str,
) -> Result<bool, ReconcileError> {
    let Some(row) = lock::find(services, host_id, image_id).await? else {
        return Ok(true);
    };
    let there = engine.inspect(image_id).await?.is_some();
    let db = services.db.write();
    let held = !holdings::of_engine_image(db, row.id).await?.is_empty();
    let known = Known {
        there,
        held,
        meant: !held && lock::is_meant(db, row.id, None).await?,
    };
    if known.is_as_it_should_be(&row) {
        return Ok(true);
    }
    look_at(services, engine, row.id, Look::Periodic).await
}

/// The state of an image before its lock is taken.
struct Known {
    there: bool,
    held: bool,
    meant: bool,
}

impl Known {
    fn is_as_it_should_be(&self, row: &engine_image::Model) -> bool {
        // A pull that is under way changes the image by itself.
        let under_way = !self.held && self.meant;
        let there = self.there && (self.held || !row.brought);
        let gone = !self.there && !self.held && row.status == EngineImageStatus::Absent;
        under_way || there || gone
    }
}

/// Reconciles one image after a job for it has ended.
pub(crate) async fn one(
    services: &Services,
    engine: &Engine,
    engine_image_id: Uuid,
) -> Result<(), ReconcileError> {
    look_at(services, engine, engine_image_id, Look::AfterJob)
        .await
        .map(drop)
}

/// Reconciles one image under its lock. Returns false, and does nothing, if another process holds the lock: that process
/// leaves the image as it should be.
async fn look_at(
    services: &Services,
    engine: &Engine,
    engine_image_id: Uuid,
    look: Look,
) -> Result<bool, ReconcileError> {
    let Some(image_lock) = lock::try_lock(services, engine_image_id).await? else {
        return Ok(false);
    };
    let changes = Changes {
        services,
        engine,
        image_lock: &image_lock,
    };
    let done =
        lock::while_renewing(services, &image_lock, Box::pin(under_lock(changes, look))).await;
    if !matches!(done, Ok(Ok(true))) {
        lock::unlock(services, &image_lock).await;
    }
    done?.map(|_| true)
}

/// Returns whether the lock was released with a change.
async fn under_lock(changes: Changes<'_>, look: Look) -> Result<bool, ReconcileError> {
    let Changes {
        services,
        engine,
        image_lock,
    } = changes;
    let db = services.db.write();
    let Some(row) = engine_image::Entity::find_by_id(image_lock.engine_image_id)
        .one(db)
        .await?
    else {
        return Ok(false);
    };
    let there = engine.inspect(&row.image_id).await?.is_some();
    let held = !holdings::of_engine_image(db, row.id).await?.is_empty();
    let meant = lock::is_meant(db, row.id, None).await?;
    if there {
        // Before the image is removed, as its tags and their previous images are deleted with it.
        tag_rollback::of_image(changes, &row, None).await?;
    }
    match (there, held, meant) {
        (false, true, _) => {
            let lost = lose(services, image_lock, meant).await?;
            tracing::warn!(image = %row.image_id, holdings = lost, "the engine lost an image: its holders were refunded");
            Ok(true)
        }
        (false, false, false) if look == Look::Periodic && !may_come(services, row.id).await? => {
            release(services, image_lock, Presence::Absent).await
        }
        (true, false, false) if row.brought => match Box::pin(remove(changes, &row)).await {
            Ok(presence) => {
                tracing::info!(image = %row.image_id, "removed an image that no user holds");
                release(services, image_lock, presence).await
            }
            Err(RunError::Failed(failure)) => {
                tracing::debug!(image = %row.image_id, %failure, "an image that no user holds stays for now");
                Ok(false)
            }
            Err(RunError::Service(error)) => Err(error.into()),
        },
        _ => Ok(false),
    }
}

/// Whether a pull of the image ended less than [`LATE_ARRIVAL`] ago.
async fn may_come(services: &Services, engine_image_id: Uuid) -> Result<bool, ReconcileError> {
    let since = services.clock.now().before(LATE_ARRIVAL);
    let lately = job::Entity::find()
        .filter(job::Column::EngineImageId.eq(engine_image_id))
        .filter(job::Column::Kind.eq(JobKind::PullImage))
        .filter(job::Column::FinishedAt.gt(since))
        .count(services.db.read())
        .await?;
    Ok(lately > 0)
}

async fn release(
    services: &Services,
    image_lock: &ImageLock,
    presence: Presence,
) -> Result<bool, ReconcileError> {
    Ok(in_transaction!(services.db, |tx| {
        match lock::fenced(&tx, services, image_lock).await? {
            Some(row) => lock::release(&tx, row, presence).await.map(|()| true),
            None => Ok::<_, sea_orm::DbErr>(false),
        }
    })?)
}

/// Ends every holding of an image that the engine lost, refunds the holders and announces their balances. Returns the number
/// of holdings.
async fn lose(
    services: &Services,
    image_lock: &ImageLock,
    meant: bool,
) -> Result<usize, ServiceError> {
    let (users, count) = in_transaction!(services.db, |tx| {
        let Some(row) = lock::fenced(&tx, services, image_lock).await? else {
            return Ok::<_, ServiceError>((Vec::new(), 0));
        };
        let holdings = holdings::of_engine_image(&tx, row.id).await?;
        let count = holdings.len();
        let reason = "the engine lost the image";
        let users = holdings::end_all(&tx, services, holdings, ImageState::Lost, reason).await?;
        let presence = if meant {
            Presence::Expected
        } else {
            Presence::Absent
        };
        lock::release(&tx, row, presence).await?;
        Ok((users, count))
    })?;
    for user in users {
        notify::balance_changed(&services.events, user);
    }
    Ok(count)
}

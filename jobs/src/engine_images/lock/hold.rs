//! Holding the lock of an image's row: proofs, renewals and release.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, ExprTrait, QueryFilter,
};
use tokio::time::Instant;
use uuid::Uuid;
use wharfinger_entity::engine_image;

use crate::services::Services;

/// Length of a lock without a renewal, while no change is asked of the engine.
pub(crate) const LOCK_TIME: Duration = Duration::from_secs(15);

/// The lock of an engine's image. Clones are the same lock.
#[derive(Clone, Debug)]
pub(crate) struct ImageLock {
    pub(crate) engine_image_id: Uuid,
    pub(crate) token: Uuid,
    term: Arc<Mutex<Term>>,
    /// One statement at a time: a renewal is not to undo a proof.
    extending: Arc<tokio::sync::Mutex<()>>,
}

/// The end of a lock, as its holder knows it.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// The lock lasts until then at least: it is counted from before the database was asked.
    until: Instant,
    /// Whether the engine was asked for a change and has not answered. Renewals do not shorten the lock then.
    calling: bool,
}

/// The lock ran out, or another process holds it: its former holder may change nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image is busy with another change")]
pub(crate) struct LockLost;

/// Condition: this lock is held at this moment. A lock that ran out does not count, even if no other process has taken it
/// since: a pull may have settled meanwhile.
pub(super) fn held(services: &Services, image_lock: &ImageLock) -> Condition {
    let until = engine_image::Column::LockUntil.into_expr();
    Condition::all()
        .add(engine_image::Column::Id.eq(image_lock.engine_image_id))
        .add(engine_image::Column::LockToken.eq(image_lock.token))
        .add(until.gte(services.database_time(Duration::ZERO)))
}

impl ImageLock {
    /// A lock that was just taken and lasts until `until`.
    pub(crate) fn new(engine_image_id: Uuid, token: Uuid, until: Instant) -> Self {
        let term = Term {
            until,
            calling: false,
        };
        Self {
            engine_image_id,
            token,
            term: Arc::new(Mutex::new(term)),
            extending: Arc::default(),
        }
    }

    /// Proves that the lock is held, and extends it for a call of the engine that may take `time`. Returns the instant by
    /// which the call must have ended; it has to begin at once. Until [`Self::heard`], the lock is never released early.
    pub(crate) async fn prove(
        &self,
        services: &Services,
        time: Duration,
    ) -> Result<Result<Instant, LockLost>, DbErr> {
        let _alone = self.extending.lock().await;
        let (asked, lasts) = (Instant::now(), time + LOCK_TIME);
        if !self.extend(services, None, lasts).await? {
            return Ok(Err(LockLost));
        }
        let until = asked + lasts;
        *self.term() = Term {
            until,
            calling: true,
        };
        Ok(Ok(until))
    }

    /// Records that the engine answered: it made the change or refused it.
    pub(crate) fn heard(&self) {
        self.term().calling = false;
    }

    /// Extends the lock to `lasts` from now. False if it is not held any more.
    async fn extend(
        &self,
        services: &Services,
        holder: Option<&str>,
        lasts: Duration,
    ) -> Result<bool, DbErr> {
        let extended = engine_image::Entity::update_many()
            .col_expr(
                engine_image::Column::LockUntil,
                services.database_time(lasts),
            )
            .col_expr(engine_image::Column::LockHolder, Expr::value(holder))
            .filter(held(services, self))
            .exec(services.db.write())
            .await?;
        Ok(extended.rows_affected == 1)
    }

    async fn renew(&self, services: &Services) -> Result<bool, DbErr> {
        let _alone = self.extending.lock().await;
        let (asked, term) = (Instant::now(), *self.term());
        let mut until = asked + LOCK_TIME;
        if term.calling {
            until = until.max(term.until);
        }
        // Only where the engine certainly makes no change is the lock of a worker that is gone to be freed early.
        let holder = services.worker.as_deref().filter(|_| !term.calling);
        let renewed = self.extend(services, holder, until - asked).await?;
        if renewed {
            self.term().until = until;
        }
        Ok(renewed)
    }

    fn term(&self) -> MutexGuard<'_, Term> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does the work, and renews the lock meanwhile. Drops the work and fails if the lock is lost, or runs out because it could
/// not be renewed.
pub(crate) async fn while_renewing<T>(
    services: &Services,
    image_lock: &ImageLock,
    work: impl Future<Output = T>,
) -> Result<T, LockLost> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        lost = until_lost(services, image_lock) => Err(lost),
    }
}

async fn until_lost(services: &Services, image_lock: &ImageLock) -> LockLost {
    loop {
        tokio::time::sleep(LOCK_TIME / 3).await;
        match in_term(image_lock, image_lock.renew(services)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                tracing::warn!(image = %image_lock.engine_image_id, "lost the lock of an image: leaving the image alone");
                return LockLost;
            }
            Ok(Err(error)) if Instant::now() < image_lock.term().until => {
                tracing::warn!(%error, "could not renew the lock of an image");
            }
            Ok(Err(_)) | Err(LockLost) => {
                tracing::warn!(image = %image_lock.engine_image_id, "could not renew the lock of an image until it ran out: leaving the image alone");
                return LockLost;
            }
        }
    }
}

/// Waits for the renewal until the lock runs out, and fails then. A proof may extend the lock meanwhile.
async fn in_term<T>(
    image_lock: &ImageLock,
    renewal: impl Future<Output = T>,
) -> Result<T, LockLost> {
    let mut renewal = std::pin::pin!(renewal);
    loop {
        let until = image_lock.term().until;
        if let Ok(renewed) = tokio::time::timeout_at(until, &mut renewal).await {
            return Ok(renewed);
        }
        if image_lock.term().until <= until {
            return Err(LockLost);
        }
    }
}

/// Frees the locks of a worker whose process has ended, except those under which the engine may be making a change. Returns
/// their number.
pub(crate) async fn free_locks_of(services: &Services, worker: &str) -> Result<u64, DbErr> {
    let freed = engine_image::Entity::update_many()
        .set(engine_image::ActiveModel {
            lock_token: Set(None),
            lock_holder: Set(None),
            lock_until: Set(None),
            ..Default::default()
        })
        .filter(engine_image::Column::LockHolder.eq(worker))
        .exec(services.db.write())
        .await?;
    Ok(freed.rows_affected)
}

/// Releases the lock and changes nothing else. A lock under which the engine was asked for a change and has not answered is
/// left to run out, because the engine may still make the change. So is a lock that the database does not release: that is
/// logged, and no error of the caller's.
pub(crate) async fn unlock(services: &Services, image_lock: &ImageLock) {
    if image_lock.term().calling {
        return;
    }
    let unlocked = engine_image::Entity::update_many()
        .set(engine_image::ActiveModel {
            lock_token: Set(None),
            lock_holder: Set(None),
            lock_until: Set(None),
            ..Default::default()
        })
        .filter(engine_image::Column::Id.eq(image_lock.engine_image_id))
        .filter(engine_image::Column::LockToken.eq(image_lock.token))
        .exec(services.db.write())
        .await;
    if let Err(error) = unlocked {
        tracing::warn!(image = %image_lock.engine_image_id, %error, "could not give the lock of an image back: it runs out");
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;

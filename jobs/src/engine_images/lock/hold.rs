//! Holding the lock of an image's row: proofs, renewals, and how it is given back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, QueryFilter};
use tokio::time::Instant;
use uuid::Uuid;
use wharfinger_entity::engine_image;

use super::row::held;
use crate::services::Services;

/// How long a lock counts without a sign of life, while the engine is not asked for a change.
pub(crate) const LOCK_TIME: Duration = Duration::from_secs(15);

/// The lock of an engine's image. Clones are the same lock.
#[derive(Clone, Debug)]
pub(crate) struct Custody {
    pub(crate) engine_image_id: Uuid,
    pub(crate) token: Uuid,
    term: Arc<Mutex<Term>>,
    /// One statement at a time: a renewal is not to undo a proof.
    extending: Arc<tokio::sync::Mutex<()>>,
}

/// How long a lock lasts, as its holder knows.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// Until then at least, if this process was not paused: counted from before the database was asked.
    until: Instant,
    /// The engine was asked for a change and has not answered: renewals never make the lock shorter.
    calling: bool,
}

/// The lock ran out, or another process has it: nothing may be changed under it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image is busy with another change")]
pub(crate) struct LockLost;

impl Custody {
    /// A lock that was taken just now.
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

    /// Proves that the lock is held, and makes it last for a call of the engine that may take `time`. The call has to begin
    /// at once and to end before the instant that is returned. Until [`Self::heard`], the lock is left to run out.
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

    /// The engine answered: what it was asked for is done, or refused.
    pub(crate) fn heard(&self) {
        self.term().calling = false;
    }

    /// Makes the lock last that long from now, if it is held still.
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

/// Does what the lock was taken for, and keeps the lock meanwhile. The work is dropped when the lock is lost, or could not be
/// renewed until it ran out.
pub(crate) async fn keeping<T>(
    services: &Services,
    custody: &Custody,
    work: impl Future<Output = T>,
) -> Result<T, LockLost> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        lost = until_lost(services, custody) => Err(lost),
    }
}

async fn until_lost(services: &Services, custody: &Custody) -> LockLost {
    loop {
        tokio::time::sleep(LOCK_TIME / 3).await;
        match in_term(custody, custody.renew(services)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => {
                tracing::warn!(image = %custody.engine_image_id, "lost the lock of an image: leaving the image alone");
                return LockLost;
            }
            Ok(Err(error)) if Instant::now() < custody.term().until => {
                tracing::warn!(%error, "could not renew the lock of an image");
            }
            Ok(Err(_)) | Err(LockLost) => {
                tracing::warn!(image = %custody.engine_image_id, "could not renew the lock of an image until it ran out: leaving the image alone");
                return LockLost;
            }
        }
    }
}

/// Waits until the lock runs out. A proof may make it last longer meanwhile.
async fn in_term<T>(custody: &Custody, renewal: impl Future<Output = T>) -> Result<T, LockLost> {
    let mut renewal = std::pin::pin!(renewal);
    loop {
        let until = custody.term().until;
        if let Ok(renewed) = tokio::time::timeout_at(until, &mut renewal).await {
            return Ok(renewed);
        }
        if custody.term().until <= until {
            return Err(LockLost);
        }
    }
}

/// Frees the locks of a worker whose process is gone, but for those under which the engine may be making a change. Returns how
/// many.
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

/// Gives the lock back, with nothing else changed. A lock under which the engine was asked for a change, and did not answer, is
/// left to run out: the engine may be making the change still. So is one that cannot be given back: the caller has its own
/// outcome to tell.
pub(crate) async fn unlock(services: &Services, custody: &Custody) {
    if custody.term().calling {
        return;
    }
    let unlocked = engine_image::Entity::update_many()
        .set(engine_image::ActiveModel {
            lock_token: Set(None),
            lock_holder: Set(None),
            lock_until: Set(None),
            ..Default::default()
        })
        .filter(engine_image::Column::Id.eq(custody.engine_image_id))
        .filter(engine_image::Column::LockToken.eq(custody.token))
        .exec(services.db.write())
        .await;
    if let Err(error) = unlocked {
        tracing::warn!(image = %custody.engine_image_id, %error, "could not give the lock of an image back: it runs out");
    }
}

#[cfg(test)]
#[path = "hold_tests.rs"]
mod tests;

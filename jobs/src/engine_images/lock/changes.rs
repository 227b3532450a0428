//! Changes of the engine under the lock of an image.
//!
//! The engine knows no locks, so a change cannot be fenced by it. Instead each change is preceded by a proof in the database
//! that the lock is held, which makes the lock last longer than the engine may take, and the change is given up when that
//! time is over. So while a change may be under way, no other process has the lock: not when renewals fail, and not when
//! this process is killed. What is left is an engine that makes a change after it let the deadline pass, and a process
//! that is stopped for longer than the lock lasts between its last look at the clock and the write to the socket. Then the
//! reconciler finds what happened, and refunds it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use sea_orm::DbErr;
use tokio::time::Instant;

use super::hold::{ImageLock, LockLost};
use crate::engine::{self, Engine, EngineError};
use crate::services::Services;

/// Why a change was not made, or its outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The engine was not asked, or its answer came too late.
    #[error(transparent)]
    LockLost(#[from] LockLost),
    /// The database failed to prove the lock. The engine was not asked.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The engine refused, or did not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Changes of the engine for the holder of an image's lock.
#[derive(Clone, Copy)]
pub(crate) struct Changes<'a> {
    pub(crate) services: &'a Services,
    /// The engine, for reading.
    pub(crate) engine: &'a Engine,
    pub(crate) image_lock: &'a ImageLock,
}

impl Changes<'_> {
    /// [`Engine::untag`]
    pub(crate) async fn untag(&self, reference: &str) -> Result<(), ChangeError> {
        self.change(engine::REMOVE, self.engine.untag(reference))
            .await
    }

    /// [`Engine::remove_by_id`]
    pub(crate) async fn remove_by_id(&self, image_id: &str) -> Result<(), ChangeError> {
        self.change(engine::REMOVE, self.engine.remove_by_id(image_id))
            .await
    }

    /// [`Engine::tag`]
    pub(crate) async fn tag(
        &self,
        image_id: &str,
        repository: &str,
        tag: &str,
    ) -> Result<(), ChangeError> {
        self.change(engine::LOOK, self.engine.tag(image_id, repository, tag))
            .await
    }

    async fn change<T>(
        &self,
        time: Duration,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, ChangeError> {
        let until = self.image_lock.prove(self.services, time).await??;
        let latest = until.checked_sub(time).unwrap_or(until);
        let answer = before(until, latest, call).await?;
        let is_unheard = |error: &EngineError| {
            matches!(error, EngineError::Unavailable { .. }) && !error.was_not_asked()
        };
        if !answer.as_ref().is_err_and(is_unheard) {
            self.image_lock.heard();
        }
        Ok(answer?)
    }
}

/// Does work that must begin before `latest`, and drops it at `until`. The clock is read before each poll, so that a process
/// that was paused does not send a request too late.
async fn before<T>(
    until: Instant,
    latest: Instant,
    work: impl Future<Output = T>,
) -> Result<T, LockLost> {
    let mut work = pin!(work);
    let mut begun = false;
    poll_fn(|context| {
        let now = Instant::now();
        let end = if begun { until } else { latest };
        if now >= end {
            return Poll::Ready(Err(LockLost));
        }
        begun = true;
        work.as_mut().poll(context).map(Ok)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_should_have_begun_already_is_not_begun() {
        let past = Instant::now();
        let until = past + Duration::from_mins(1);
        let mut begun = false;
        let work = async { begun = true };
        assert_eq!(before(until, past, work).await, Err(LockLost));
        assert!(!begun);
    }

    #[tokio::test]
    async fn what_began_in_time_may_end_later_and_not_too_late() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let work = || before(now + 60 * second, now + second, tokio::time::sleep(second));
        assert_eq!(work().await, Ok(()));
        assert_eq!(work().await, Err(LockLost));
    }
}

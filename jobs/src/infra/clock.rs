//! The time, passed in so that tests need no sleeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use wharfinger_entity::Timestamp;

/// Where the time comes from.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Manual>>);

/// A clock of a test, in microseconds.
#[derive(Debug)]
struct Manual {
    now: AtomicI64,
    database_offset: AtomicI64,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is [advanced](Self::advance). The database's clock is moved to the same
    /// instant, and goes on from there.
    pub fn manual(now: Timestamp) -> Self {
        let system = Self::system().now();
        Self::stopped(now, now.micros() - system.micros())
    }

    /// The clock of a process that is wrong, where the database's is right.
    pub fn wrong(now: Timestamp) -> Self {
        Self::stopped(now, 0)
    }

    fn stopped(now: Timestamp, database_offset: i64) -> Self {
        Self(Some(Arc::new(Manual {
            now: AtomicI64::new(now.micros()),
            database_offset: AtomicI64::new(database_offset),
        })))
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            None => chrono::Utc::now().into(),
            Some(manual) => Timestamp::from_micros(manual.now.load(Ordering::SeqCst)),
        }
    }

    /// The microseconds that a statement adds to the database's clock. Only tests move it.
    pub(crate) fn database_offset(&self) -> i64 {
        let offset = |manual: &Arc<Manual>| manual.database_offset.load(Ordering::SeqCst);
        self.0.as_ref().map_or(0, offset)
    }

    /// Moves a manual clock, and the database's with it, forward. The system's clock stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Some(manual) = &self.0 {
            let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
            manual.now.fetch_add(by, Ordering::SeqCst);
            manual.database_offset.fetch_add(by, Ordering::SeqCst);
        }
    }
}

//! Real parts, short settings, and ways to wait that end.

pub(crate) mod background;
pub(crate) mod bare;
pub(crate) mod database;
pub(crate) mod edges;
pub(crate) mod engine;
pub(crate) mod engine_gate;
mod fleet;
pub(crate) mod hostile;
pub(crate) mod images;
pub(crate) mod invariants;
pub(crate) mod lock;
pub(crate) mod process;
pub(crate) mod proxy;
#[path = "../../support/private_redis.rs"]
pub(crate) mod redis;
mod relay;
pub(crate) mod rows;
pub(crate) mod schedule;
mod settings;
pub(crate) mod stand_in;

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use wharfinger_entity::Credits;
use wharfinger_jobs::error::{ServiceError, UserError};

pub(crate) use fleet::{Fleet, StuckPull};
pub(crate) use settings::settings;

/// How long anything may take before its test fails: longer than a machine that does other things too makes of it.
const DEADLINE: Duration = Duration::from_mins(3);

/// How often is looked where nothing tells.
const POLL: Duration = Duration::from_millis(20);

/// A database with the queue and events that go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// SQLite, everything in one process.
    Embedded,
    /// PostgreSQL and Redis.
    Postgres,
    /// MariaDB and Redis.
    MariaDb,
}

/// What `make test` says about its servers.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// An amount of credits.
pub(crate) fn credits(amount: &str) -> Credits {
    amount.parse().unwrap()
}

/// The answer, or why it was refused; any other error is a failure of the test.
pub(crate) fn rejected<T>(answer: Result<T, ServiceError>) -> Result<T, UserError> {
    match answer {
        Ok(value) => Ok(value),
        Err(ServiceError::Rejected(error)) => Err(error),
        Err(error) => panic!("{error:?}"),
    }
}

/// Why a request was refused, which the caller can mend.
pub(crate) fn refusal<T: Debug>(answer: Result<T, ServiceError>) -> UserError {
    rejected(answer).unwrap_err()
}

/// One of those that are counted, for as long as it lives.
pub(crate) struct Counted(watch::Sender<usize>);

impl Counted {
    pub(crate) fn among(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Waits for something, but not for ever.
pub(crate) async fn in_time<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    waited.unwrap_or_else(|_elapsed| panic!("{what}: not within {DEADLINE:?}"))
}

/// Looks again and again until there is something to see, but not for ever.
pub(crate) async fn eventually<T, F>(what: &str, look: impl Fn() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    in_time(what, looking).await
}

/// Runs each of these tests on every shape: on MariaDB in the long form, `make test-long`.
macro_rules! on_every_shape {
    ($($test:ident),+ $(,)?) => {
        $crate::support::on_shape!(sqlite, Embedded, $($test),+);
        $crate::support::on_every_fleet!($($test),+);
    };
}
pub(crate) use on_every_shape;

/// Runs each of these tests on every shape that has a Redis: on MariaDB in the long form.
macro_rules! on_every_fleet {
    ($($test:ident),+ $(,)?) => {
        $crate::support::on_shape!(postgres, Postgres, $($test),+);
        $crate::support::on_shape!(long mariadb, MariaDb, $($test),+);
    };
}
pub(crate) use on_every_fleet;

/// Runs each of these tests on every database, always: for SQL that each reads in its own way, locks, migrations, the ledger
/// and crashes.
macro_rules! on_every_database {
    ($($test:ident),+ $(,)?) => {
        $crate::support::on_shape!(sqlite, Embedded, $($test),+);
        $crate::support::on_every_server!($($test),+);
    };
}
pub(crate) use on_every_database;

/// The same without SQLite.
macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => {
        $crate::support::on_shape!(postgres, Postgres, $($test),+);
        $crate::support::on_shape!(mariadb, MariaDb, $($test),+);
    };
}
pub(crate) use on_every_server;

/// Runs each of these tests on one shape.
macro_rules! on_shape {
    ($module:ident, $shape:ident, $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::support::Shape::$shape).await;
                }
            )+
        }
    };
    (long $module:ident, $shape:ident, $($test:ident),+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "as on PostgreSQL: `make test-long`"]
                async fn $test() {
                    super::$test($crate::support::Shape::$shape).await;
                }
            )+
        }
    };
}
pub(crate) use on_shape;

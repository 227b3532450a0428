//! The database: connecting, and transactions that survive a deadlock.

mod pools;
mod refusal;
mod time;

use std::time::Duration;

pub use sea_orm::DbErr;
use sea_orm::sea_query::LockType;
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::{Executor as _, MySql};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    IsolationLevel, QuerySelect, RuntimeErr, SqlErr, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use wharfinger_migration::{Migrator, MigratorTrait};

pub use pools::PoolState;
pub(crate) use refusal::refuses_data;
pub use time::timed_out;

/// How often a transaction that lost a deadlock is run again.
pub(crate) const MAX_TRANSACTION_TRIES: u32 = 10;

/// How often it is looked again what a migration has left to do.
const MIGRATION_TRIES: u32 = 20;

/// How soon.
const MIGRATION_PAUSE: Duration = Duration::from_millis(250);

/// How long a connection is waited for; on SQLite also the writer's lock.
const WAIT: Duration = Duration::from_secs(10);

/// How long an answer is waited for, where nothing limits a request's statements.
const PATIENCE: Duration = Duration::from_secs(35);

/// How much longer than its statement may take.
const MOMENT: Duration = Duration::from_secs(5);

/// How long a connection may be idle and still be used untested: a test is a round trip before every statement.
const FRESH: Duration = Duration::from_secs(1);

/// Connections to one database. SQLite has one writer and several readers beside it (WAL), MySQL one pool, and PostgreSQL
/// a second pool whose commits do not wait for the disk. A gateway has one more on the servers, whose statements may not
/// take long, and on PostgreSQL one of these whose statements are planned once.
#[derive(Clone, Debug)]
pub struct Db {
    write: DatabaseConnection,
    read: DatabaseConnection,
    relaxed: DatabaseConnection,
    planned: DatabaseConnection,
    requests: Option<Requests>,
    /// How long an answer is waited for where nothing else ends the wait.
    patience: Duration,
}

/// Connections for requests.
#[derive(Clone, Debug)]
struct Requests {
    any: DatabaseConnection,
    planned: DatabaseConnection,
}

impl Db {
    /// Connects to `sqlite:…`, `postgres:…` or `mysql:…`. A missing SQLite file is made (`?mode=rwc`).
    pub async fn connect(url: &str) -> Result<Self, DbErr> {
        if url.starts_with("sqlite:") {
            let write = Database::connect(sqlite(url, 1)).await?;
            let read = Database::connect(sqlite(url, 4)).await?;
            let relaxed = write.clone();
            return Ok(Self {
                write,
                planned: read.clone(),
                read,
                relaxed,
                requests: None,
                patience: PATIENCE,
            });
        }
        let pool = Database::connect(server(url, 16, &[])).await?;
        let relaxed = if pool.get_database_backend() == DbBackend::Postgres {
            Database::connect(server(url, 4, &[("synchronous_commit", "off")])).await?
        } else {
            pool.clone()
        };
        Ok(Self {
            write: pool.clone(),
            planned: pool.clone(),
            read: pool,
            relaxed,
            requests: None,
            patience: PATIENCE,
        })
    }

    /// The same, with connections of their own for requests, whose statements the server ends after `limit` (0: never).
    ///
    /// An SQLite database has none: each of its statements runs to its end, in this process. Nothing there waits for
    /// another's lock but for the writer's, and for that no longer than ten seconds.
    pub async fn connect_for_requests(url: &str, limit: Duration) -> Result<Self, DbErr> {
        let mut db = Self::connect(url).await?;
        if limit > Duration::ZERO {
            db.patience = limit + MOMENT;
        }
        if db.backend() != DbBackend::Sqlite && limit > Duration::ZERO {
            let connect = async |connections, parameters| {
                let mut options = server(url, connections, parameters);
                time::limit(&mut options, limit);
                Database::connect(options).await
            };
            db.requests = Some(if db.backend() == DbBackend::Postgres {
                let once = &[("plan_cache_mode", "force_generic_plan")];
                Requests {
                    any: connect(12, &[]).await?,
                    planned: connect(12, once).await?,
                }
            } else {
                let any = connect(16, &[]).await?;
                let planned = any.clone();
                Requests { any, planned }
            });
        }
        Ok(db)
    }

    /// The connections for requests in place of the others, where there are any.
    #[must_use]
    pub fn for_requests(&self) -> Self {
        let mut db = self.clone();
        if let Some(requests) = &self.requests {
            db.write = requests.any.clone();
            db.read = requests.any.clone();
            db.planned = requests.planned.clone();
        }
        db
    }

    /// Brings the schema up to date. Several processes may do it at once: each statement happens once, and whoever lost a
    /// race looks again at what is left to do.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Migrator::up(&self.write, None).await {
                Err(error) if tries < MIGRATION_TRIES => {
                    tracing::debug!(%error, "the migration was interfered with: looking again");
                    tokio::time::sleep(MIGRATION_PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// For statements that only read. May lag behind nothing: it sees everything that was committed.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// For statements that only read, and for which the best plan is the same whatever their values: pages that are ranges of
    /// an index, rows by their keys. PostgreSQL would plan some of them anew each time, which takes longer than they do,
    /// where it supposes that it is worth it.
    pub(crate) fn planned(&self) -> &DatabaseConnection {
        &self.planned
    }

    /// For single statements that write.
    pub fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// For what the database server may forget if it crashes within a second, because it is done again then: everybody
    /// else sees it at once, and it lasts as soon as anything that was committed after it does. Where a database cannot
    /// tell the two apart, the same as [`Self::write`].
    pub(crate) fn relaxed(&self) -> &DatabaseConnection {
        &self.relaxed
    }

    /// Which database it is.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// Whether the database answers, within two seconds.
    pub async fn ping(&self) -> Result<(), DbErr> {
        in_time(Duration::from_secs(2), self.read.ping()).await
    }

    /// What the database answers, or an error where it does not within the time that a request's statement may take, and a
    /// moment. A connection whose other end is gone may never be answered on; it stays taken until the system gives it up.
    pub async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        in_time(self.patience, answer).await
    }

    /// Begins a transaction that writes. READ COMMITTED, because every state change locks the rows that it decides on;
    /// on SQLite it takes the writer's lock at once, since a reader that turns writer half-way can only fail.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        begin(&self.write).await
    }
}

async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or_else(|_elapsed| {
        let message = format!("the database did not answer within {limit:?}");
        Err(DbErr::Custom(message))
    })
}

/// Begins a transaction that writes on one of the pools.
pub(crate) async fn begin(pool: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let backend = pool.get_database_backend();
    pool.begin_with_options(TransactionOptions {
        // PostgreSQL's connections begin that way by themselves, which saves a round trip.
        isolation_level: (backend == DbBackend::MySql).then_some(IsolationLevel::ReadCommitted),
        sqlite_transaction_mode: (backend == DbBackend::Sqlite)
            .then_some(SqliteTransactionMode::Immediate),
        ..Default::default()
    })
    .await
}

/// Connections to MySQL that come back without a transaction. A BEGIN whose caller was cut off leaves one open that sqlx
/// does not know of: whoever had the connection next would work inside of it, and nothing of that would ever be committed.
fn rolled_back(pool: PoolOptions<MySql>) -> PoolOptions<MySql> {
    pool.after_release(|connection, _| {
        Box::pin(async move {
            connection.execute("ROLLBACK").await?;
            Ok(true)
        })
    })
}

/// A pool of connections to PostgreSQL, with these parameters of its sessions, or to MySQL.
fn server(
    url: &str,
    connections: u32,
    parameters: &'static [(&'static str, &'static str)],
) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(2)
        .acquire_timeout(WAIT)
        .connect_timeout(WAIT)
        .test_before_acquire_if_idle_for(FRESH)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |options| {
            options
                .options([("default_transaction_isolation", "read committed")])
                .options(parameters.iter().copied())
        })
        .map_sqlx_mysql_pool_opts(rolled_back);
    options
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(WAIT)
        // A file does not go away: a test would only be a way to the connection's thread and back before every statement.
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sea_orm::sqlx::sqlite::SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(WAIT)
        });
    options
}

/// Whether running the whole transaction again may help: a deadlock, a lost race of snapshots, or a lock not had in time.
pub(crate) fn is_transient(error: &DbErr) -> bool {
    // Somebody else made the same row a moment ago: looked for again, it is found.
    if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
        return true;
    }
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) =
        error
    else {
        return false;
    };
    let Some(error) = error.as_database_error() else {
        return false;
    };
    match error.code().as_deref() {
        // PostgreSQL: serialization_failure, deadlock_detected. MySQL's SQLSTATE for a deadlock is 40001 too.
        // SQLite: SQLITE_BUSY and its extended codes.
        Some("40001" | "40P01" | "5" | "261" | "517") => true,
        // MySQL: lock wait timeout (1205) comes as a general error; record changed since last read (1020).
        _ => {
            error.message().contains("Lock wait timeout")
                || error.message().contains("Record has changed since")
        }
    }
}

/// `SELECT … FOR UPDATE` where the database has row locks. SQLite's one writer needs none, and does not know the words.
pub(crate) fn for_update<S: QuerySelect>(tx: &DatabaseTransaction, select: S) -> S {
    let strength = match tx.get_database_backend() {
        DbBackend::Sqlite => return select,
        // Rows that refer to this one may be made meanwhile: only changes of it wait.
        DbBackend::Postgres => LockType::NoKeyUpdate,
        _ => LockType::Update,
    };
    select.lock(strength)
}

/// Runs `$body` in a transaction and commits it; runs it again, a bounded number of times, when the database says that
/// it lost a deadlock. The body must only read and write through `$tx`, and its error type be `From<DbErr>` and have
/// `is_transient()`. With `on`, on a pool of its own choice.
macro_rules! in_transaction {
    ($db:expr, |$tx:ident| $body:expr) => {
        $crate::db::in_transaction!(on $db.write(), |$tx| $body)
    };
    (on $pool:expr, |$tx:ident| $body:expr) => {{
        let mut tries = 0u32;
        loop {
            tries += 1;
            let $tx = match $crate::db::begin($pool).await {
                Ok(tx) => tx,
                Err(error)
                    if tries < $crate::db::MAX_TRANSACTION_TRIES
                        && $crate::db::is_transient(&error) =>
                {
                    $crate::db::pause(tries).await;
                    continue;
                }
                Err(error) => break Err(error.into()),
            };
            // On the heap: bodies are large, and callers nest.
            let outcome = Box::pin(async { $body }).await;
            let outcome = match outcome {
                Ok(value) => match $tx.commit().await {
                    Ok(()) => Ok(value),
                    Err(error) => Err(error.into()),
                },
                Err(error) => {
                    // A failed rollback leaves nothing behind either: the connection is closed.
                    let _ = $tx.rollback().await;
                    Err(error)
                }
            };
            match outcome {
                Err(error)
                    if tries < $crate::db::MAX_TRANSACTION_TRIES
                        && $crate::error::Transient::is_transient(&error) =>
                {
                    tracing::debug!(tries, "transaction lost a deadlock: running it again");
                    $crate::db::pause(tries).await;
                }
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use in_transaction;

/// Waits a little and at random before a transaction is run again, so that two do not meet again.
pub(crate) async fn pause(tries: u32) {
    let most = 5u64 << tries.min(6);
    tokio::time::sleep(Duration::from_millis(rand::random_range(0..=most))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_never_comes_is_given_up() {
        let limit = Duration::from_secs(1);
        let db = Db::connect_for_requests("sqlite::memory:", limit).await;
        let mut db = db.unwrap();
        assert_eq!(db.patience, limit + MOMENT);
        db.patience = Duration::from_millis(10);
        let never = std::future::pending::<Result<(), DbErr>>();
        let error = db.answer(never).await.unwrap_err();
        assert!(error.to_string().contains("within 10ms"), "{error}");
        assert_eq!(db.answer(async { Ok(1) }).await.unwrap(), 1);
    }
}

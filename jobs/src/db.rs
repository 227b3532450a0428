//! The database: connecting, and transactions that survive a deadlock.

use std::time::Duration;

pub use sea_orm::DbErr;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    IsolationLevel, QuerySelect, RuntimeErr, Select, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use wharfinger_migration::{Migrator, MigratorTrait};

/// How often a transaction that lost a deadlock is run again.
pub(crate) const MAX_TRANSACTION_TRIES: u32 = 10;

/// How long a statement waits for a lock or a connection before it fails.
const WAIT: Duration = Duration::from_secs(10);

/// Connections to one database. SQLite has one writer and several readers beside it (WAL); the others have one pool.
#[derive(Clone, Debug)]
pub struct Db {
    write: DatabaseConnection,
    read: DatabaseConnection,
}

impl Db {
    /// Connects to `sqlite:…`, `postgres:…` or `mysql:…`. A missing SQLite file is made (`?mode=rwc`).
    pub async fn connect(url: &str) -> Result<Self, DbErr> {
        if url.starts_with("sqlite:") {
            let write = Database::connect(sqlite(url, 1)).await?;
            let read = Database::connect(sqlite(url, 4)).await?;
            return Ok(Self { write, read });
        }
        let mut options = ConnectOptions::new(url);
        options
            .max_connections(16)
            .min_connections(2)
            .acquire_timeout(WAIT)
            .connect_timeout(WAIT)
            .sqlx_logging(false);
        let pool = Database::connect(options).await?;
        Ok(Self {
            write: pool.clone(),
            read: pool,
        })
    }

    /// Brings the schema up to date.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        Migrator::up(&self.write, None).await
    }

    /// For statements that only read. May lag behind nothing: it sees everything that was committed.
    pub fn read(&self) -> &DatabaseConnection {
        &self.read
    }

    /// For single statements that write.
    pub fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// Which database it is.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// Whether the database answers, within two seconds.
    pub async fn ping(&self) -> Result<(), DbErr> {
        tokio::time::timeout(Duration::from_secs(2), self.read.ping())
            .await
            .map_err(|_| DbErr::Custom("the database did not answer within 2 s".into()))?
    }

    /// Begins a transaction that writes. READ COMMITTED, because every state change locks the rows that it decides on;
    /// on SQLite it takes the writer's lock at once, since a reader that turns writer half-way can only fail.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let sqlite = self.backend() == DbBackend::Sqlite;
        self.write
            .begin_with_options(TransactionOptions {
                isolation_level: (!sqlite).then_some(IsolationLevel::ReadCommitted),
                sqlite_transaction_mode: sqlite.then_some(SqliteTransactionMode::Immediate),
                ..Default::default()
            })
            .await
    }
}

fn sqlite(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(WAIT)
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
pub(crate) fn for_update<E: sea_orm::EntityTrait>(
    tx: &DatabaseTransaction,
    select: Select<E>,
) -> Select<E> {
    if tx.get_database_backend() == DbBackend::Sqlite {
        select
    } else {
        select.lock_exclusive()
    }
}

/// Runs `$body` in a transaction and commits it; runs it again, a bounded number of times, when the database says that
/// it lost a deadlock. The body must only read and write through `$tx`, and its error type be `From<DbErr>` and have
/// `is_transient()`.
macro_rules! in_transaction {
    ($db:expr, |$tx:ident| $body:expr) => {{
        let mut tries = 0u32;
        loop {
            tries += 1;
            let $tx = $db.begin().await?;
            let outcome = async { $body }.await;
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

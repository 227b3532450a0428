//! The database: connecting, and transactions that survive a deadlock.
//!
//! [`Db`] hands out [`Pool`]s, whose statements and transactions have deadlines; `deadlines` has all of these times.

mod connect;
mod deadlines;
mod errors;
mod link;
mod migrate;
mod outages;
mod pool;
mod pools;
pub(crate) mod sql;
mod transaction;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use sea_orm::DbErr;
use sea_orm::sea_query::{Expr, LockBehavior, LockType, Query, SelectStatement};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, ExprTrait as _, QuerySelect, Select};
use wharfinger_entity::Timestamp;

use crate::infra::clock::Clock;
use connect::Server;
pub use connect::files;
use deadlines::{MOMENT, STATEMENT};
pub(crate) use errors::{Transient, is_locked, is_transient, refuses_data};
pub use errors::{is_unavailable, timed_out};
use outages::Outages;
pub use pool::Pool;
use pools::Shares;
pub use pools::{LEAST_CONNECTIONS, PoolState};
pub(crate) use sql::insert;
pub use transaction::Transaction;
pub(crate) use transaction::{Tries, in_transaction};

/// Connections of a process, where no setting says so: two gateways and two workers have 80 of PostgreSQL's 100, of which 3
/// are its administrator's.
pub const DEFAULT_CONNECTIONS: u32 = 20;

/// Connections to one database. SQLite has one writer and several readers beside it (WAL), MySQL one pool, and PostgreSQL
/// a second pool whose commits do not wait for the disk. A gateway has one more on the servers, whose statements may not
/// take long, and on PostgreSQL one of these whose statements are planned once.
#[derive(Clone, Debug)]
pub struct Db {
    write: Pool,
    read: Pool,
    relaxed: Pool,
    planned: Pool,
    requests: Option<Requests>,
    outages: Arc<Outages>,
    /// How long an answer is waited for where nothing else ends the wait.
    patience: Duration,
}

/// Connections for requests.
#[derive(Clone, Debug)]
struct Requests {
    any: Pool,
    planned: Pool,
}

impl Db {
    /// Connects to `sqlite:…`, `postgres:…` or `mysql:…`. A missing SQLite file is made (`?mode=rwc`).
    pub async fn connect(url: &str) -> Result<Self, DbErr> {
        Self::connect_with(url, DEFAULT_CONNECTIONS).await
    }

    /// Connects, with at most so many connections to a server. An SQLite file has one that writes and four that read.
    pub async fn connect_with(url: &str, connections: u32) -> Result<Self, DbErr> {
        Self::connect_for_requests(url, connections, Duration::ZERO).await
    }

    /// Connects, with connections of their own for requests, whose statements the server ends after `limit`. With a limit of 0
    /// there are none.
    ///
    /// An SQLite database has none: each of its statements runs to its end, in this process. Nothing there waits for
    /// another's lock but for the writer's, and for that no longer than ten seconds.
    pub async fn connect_for_requests(
        url: &str,
        connections: u32,
        limit: Duration,
    ) -> Result<Self, DbErr> {
        let backend = connect::backend(url)?;
        let for_requests = limit > Duration::ZERO;
        let shares = Shares::of(backend, connections, for_requests);
        let outages = Arc::new(Outages::new(Instant::now()));
        let local = |connections| connect::sqlite(url, connections, Arc::clone(&outages));
        let server = Server {
            url,
            outages: Arc::clone(&outages),
        };
        let (write, read, relaxed) = match backend {
            DbBackend::Sqlite => {
                let write = local(1).await?;
                let mut relaxed = write.clone();
                relaxed.unsynced = true;
                (write, local(4).await?, relaxed)
            }
            DbBackend::Postgres => {
                let write = server.connect(shares.write, STATEMENT, &[]).await?;
                let later = &[("synchronous_commit", "off")];
                let relaxed = server.connect(shares.relaxed, STATEMENT, later).await?;
                (write.clone(), write, relaxed)
            }
            _ => {
                let write = server.connect(shares.write, STATEMENT, &[]).await?;
                (write.clone(), write.clone(), write)
            }
        };
        let requests = if for_requests && backend != DbBackend::Sqlite {
            let any = server.connect(shares.requests, limit, &[]).await?;
            let planned = if backend == DbBackend::Postgres {
                let once = &[("plan_cache_mode", "force_generic_plan")];
                server.connect(shares.planned, limit, once).await?
            } else {
                any.clone()
            };
            Some(Requests { any, planned })
        } else {
            None
        };
        Ok(Self {
            write,
            planned: read.clone(),
            read,
            relaxed,
            requests,
            outages,
            patience: MOMENT + if for_requests { limit } else { STATEMENT },
        })
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

    /// For statements that only read. May lag behind nothing: it sees everything that was committed.
    pub fn read(&self) -> &Pool {
        &self.read
    }

    /// For statements that only read, and for which the best plan is the same whatever their values: pages that are ranges of
    /// an index, rows by their keys. PostgreSQL would plan some of them anew each time, which takes longer than they do,
    /// where it supposes that it is worth it.
    pub(crate) fn planned(&self) -> &Pool {
        &self.planned
    }

    /// For single statements that write.
    pub fn write(&self) -> &Pool {
        &self.write
    }

    /// For writes that may be lost if the database server crashes within a second, because they are repeated then. Other
    /// connections see them at once, and a later durable commit makes them durable too. MariaDB has no such commit, and SQLite
    /// only for single statements: there it is the same as [`Self::write`].
    pub(crate) fn relaxed(&self) -> &Pool {
        &self.relaxed
    }

    /// Which database it is.
    pub fn backend(&self) -> DbBackend {
        self.write.get_database_backend()
    }

    /// Whether the database answers, within two seconds.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.read.ping(Duration::from_secs(2)).await
    }

    /// The answer of several statements, or an error where they take longer than one may.
    pub async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        in_time(self.patience, answer).await
    }

    /// How much of the last `time` the database could not be used, as far as this process knows.
    pub fn outage_within(&self, time: Duration) -> Duration {
        self.outages.within(time, Instant::now())
    }

    /// The instant `later` from now by the database's clock, as part of a statement. Leases are written and judged by it alone,
    /// so that the clocks of the machines may differ. Tests move it by `clock`.
    pub(crate) fn time(&self, clock: &Clock, later: Duration) -> Expr {
        let later = i64::try_from(later.as_micros()).unwrap_or(i64::MAX);
        Expr::cust(instant(self.backend())).add(clock.database_offset().saturating_add(later))
    }

    /// The present instant by the database's clock, for what is asked for seldom.
    pub(crate) async fn now(&self, clock: &Clock) -> Result<Timestamp, DbErr> {
        let query = Query::select()
            .expr(self.time(clock, Duration::ZERO))
            .to_owned();
        let row = self.read().query_one(&query).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("the database's time".to_owned()))?;
        row.try_get_by_index(0)
    }

    /// Begins a transaction that writes.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.write.begin().await
    }
}

async fn in_time<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, DbErr> {
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or_else(|_elapsed| Err(errors::queried(errors::late())))
}

/// The microseconds since 1970 at which the statement began. That a statement may wait for a lock makes a lease shorter
/// than its holder believes, never longer, if the holder counts from the instant before it asked. `now()` of PostgreSQL would
/// be the beginning of the transaction, and `UNIX_TIMESTAMP` of MariaDB would read the hour that a time zone has twice.
fn instant(backend: DbBackend) -> &'static str {
    match backend {
        // Exact to the millisecond.
        DbBackend::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)",
        DbBackend::Postgres => {
            "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000 AS BIGINT)"
        }
        _ => "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))",
    }
}

/// `SELECT … FOR UPDATE` where the database has row locks. SQLite's one writer needs none, and does not know the words.
pub(crate) fn for_update<S: QuerySelect>(tx: &Transaction, select: S) -> S {
    match lock_type(tx.get_database_backend()) {
        Some(strength) => select.lock(strength),
        None => select,
    }
}

/// The same for a statement of several tables: their rows are locked in the order of the tables.
pub(crate) fn lock_rows(tx: &Transaction, select: &mut SelectStatement) {
    if let Some(strength) = lock_type(tx.get_database_backend()) {
        select.lock(strength);
    }
}

fn lock_type(backend: DbBackend) -> Option<LockType> {
    match backend {
        DbBackend::Sqlite => None,
        // Rows that refer to this one may be made meanwhile: only changes of it wait.
        DbBackend::Postgres => Some(LockType::NoKeyUpdate),
        _ => Some(LockType::Update),
    }
}

/// Reads and locks a row, like [`for_update`], without a wait for another transaction that has it locked: the error is
/// [`is_locked`] then. For work that can be left for another time, and that has other rows to go on with.
///
/// NOWAIT, because MariaDB has SKIP LOCKED only since 10.6.
pub(crate) async fn lock_now<E: EntityTrait>(
    tx: &Transaction,
    select: Select<E>,
) -> Result<Option<E::Model>, DbErr> {
    let select = match lock_type(tx.get_database_backend()) {
        Some(strength) => select.lock_with_behavior(strength, LockBehavior::Nowait),
        None => select,
    };
    select.one(tx).await.map_err(errors::locked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_that_never_comes_is_given_up() {
        let limit = Duration::from_secs(1);
        let db = Db::connect_for_requests("sqlite::memory:", DEFAULT_CONNECTIONS, limit).await;
        let mut db = db.unwrap();
        assert_eq!(db.patience, limit + MOMENT);
        db.patience = Duration::from_millis(10);
        let never = std::future::pending::<Result<(), DbErr>>();
        let error = db.answer(never).await.unwrap_err();
        assert!(is_unavailable(&error), "{error}");
        assert_eq!(db.answer(async { Ok(1) }).await.unwrap(), 1);
    }
}

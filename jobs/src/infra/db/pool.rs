//! Connections to one database, for single statements. Each statement has a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::{self, MySqlPool, PgPool, SqlitePool};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::time::{Instant, timeout_at};

use super::deadlines::{Deadlines, WAIT};
use super::errors::{acquired, executed, queried};
use super::link::{Busy, Link};
use super::outages::Outages;

/// A pool of connections, whose statements all have a deadline: after it the statement fails, and its connection is closed.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(crate) connections: Connections,
    pub(crate) deadlines: Deadlines,
    pub(crate) outages: Arc<Outages>,
    /// Whether SQLite writes without waiting for the disk: what is committed then lasts as soon as anything after it does.
    pub(crate) unsynced: bool,
    /// Whether the connection that writes to SQLite is set so now. It is set anew only where the next write needs it otherwise.
    pub(crate) is_unsynced: Arc<AtomicBool>,
}

/// The connections, by database.
#[derive(Clone, Debug)]
pub(crate) enum Connections {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

impl Pool {
    /// The same connections, for statements that are given up after this long, the wait for a connection included. The server
    /// may go on with one a little: this is for what has to be tried again in time, on another connection.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let mut pool = self.clone();
        pool.deadlines.both = Some(limit);
        pool
    }

    /// A connection that writes as this pool does, and until when its statement may take. The wait for the connection does not count, but for a limit of
    /// both: given up before the server gives up, a statement would be at work there beside those of the pool.
    pub(crate) async fn take(&self) -> Result<(Busy, Instant), DbErr> {
        let within = self.deadlines.statement;
        let both = self.deadlines.both.map(|both| Instant::now() + both);
        let wait = Instant::now() + WAIT.min(within);
        let link = async {
            match &self.connections {
                Connections::Sqlite(pool) => pool.acquire().await.map(Link::Sqlite),
                Connections::Postgres(pool) => pool.acquire().await.map(Link::Postgres),
                Connections::MySql(pool) => pool.acquire().await.map(Link::MySql),
            }
        };
        let link = timeout_at(both.map_or(wait, |both| both.min(wait)), link).await;
        let link = link.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let link = self.heard(false, link).map_err(acquired)?;
        let until = Instant::now() + within;
        let until = both.map_or(until, |both| both.min(until));
        let mut busy = Busy::new(link, within);
        let set = self.set_synced(&mut busy, until).await;
        if let Err(error) = self.heard(false, set) {
            busy.close();
            return Err(queried(error));
        }
        Ok((busy, until))
    }

    /// Lets SQLite wait for the disk, or not, from now on, as this pool's writes need it.
    async fn set_synced(&self, busy: &mut Busy, until: Instant) -> sqlx::Result<()> {
        let is_set = self.is_unsynced.load(Ordering::SeqCst) == self.unsynced;
        if is_set || !matches!(self.connections, Connections::Sqlite(_)) {
            return Ok(());
        }
        let sql = if self.unsynced {
            "PRAGMA synchronous = NORMAL"
        } else {
            "PRAGMA synchronous = FULL"
        };
        busy.unprepared(sql, until).await?;
        self.is_unsynced.store(self.unsynced, Ordering::SeqCst);
        Ok(())
    }

    /// Notes whether the database could be used; with `stored`, whether it stored something.
    pub(crate) fn heard<T>(&self, stored: bool, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        self.outages.heard(stored, &answer);
        answer
    }

    /// Whether the database answers, within `limit`.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), DbErr> {
        let answer = async {
            let (mut busy, until) = self.take().await?;
            self.heard(false, busy.ping(until).await).map_err(queried)?;
            busy.give_back();
            Ok(())
        };
        super::in_time(limit, answer).await
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Pool {
    fn get_database_backend(&self) -> DbBackend {
        match &self.connections {
            Connections::Sqlite(_) => DbBackend::Sqlite,
            Connections::Postgres(_) => DbBackend::Postgres,
            Connections::MySql(_) => DbBackend::MySql,
        }
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        let (mut busy, until) = self.take().await?;
        let done = busy.execute(&stmt, until).await;
        busy.give_back();
        self.heard(true, done).map_err(executed)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let (mut busy, until) = self.take().await?;
        let done = busy.unprepared(sql, until).await;
        busy.give_back();
        self.heard(true, done).map_err(executed)
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (mut busy, until) = self.take().await?;
        let row = busy.query_one(&stmt, until).await;
        busy.give_back();
        self.heard(false, row).map_err(queried)
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (mut busy, until) = self.take().await?;
        let rows = busy.query_all(&stmt, until).await;
        busy.give_back();
        self.heard(false, rows).map_err(queried)
    }
}

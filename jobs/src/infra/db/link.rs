//! One connection of a pool, on any of the databases, and the rule for when it may go back.
//!
//! A connection goes back to its pool only after an answer to everything that was asked on it. One whose answer was not
//! waited for, or on which BEGIN, COMMIT or ROLLBACK failed, is closed: sqlx would hand it out again, inside of a
//! transaction or for as long as the operating system keeps a dead connection.

use std::time::Duration;

use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, Executor as _, MySql, Postgres, Sqlite};
use sea_orm::{ExecResult, QueryResult, Statement, Values};
use sea_query_sqlx::SqlxValues;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::errors::{is_answer, late};

/// How long a connection may take to be tested on its way back to the pool, or to be closed.
const RETURN: Duration = Duration::from_secs(5);

/// A connection that its pool gave out.
#[derive(Debug)]
pub(crate) enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    MySql(PoolConnection<MySql>),
}

macro_rules! on {
    ($link:expr, |$connection:ident| $body:expr) => {
        match $link {
            Link::Sqlite($connection) => $body,
            Link::Postgres($connection) => $body,
            Link::MySql($connection) => $body,
        }
    };
}

/// Tells of a statement: `WHARFINGER_LOG=wharfinger_jobs::sql=trace` shows all of them.
fn told(sql: &str) {
    tracing::trace!(target: "wharfinger_jobs::sql", sql);
}

/// A statement with its values, for whichever database it goes to.
macro_rules! query {
    ($statement:expr) => {{
        told(&$statement.sql);
        let values = $statement.values.clone();
        let values = SqlxValues(values.unwrap_or_else(|| Values(Vec::new())));
        sqlx::query_with(AssertSqlSafe($statement.sql.as_str()), values)
    }};
}

impl Link {
    async fn ping(&mut self) -> sqlx::Result<()> {
        on!(self, |connection| connection.ping().await)
    }

    /// Gives the connection back to its pool, which tests it first. One that fails the test, or is silent, is closed.
    pub(crate) fn give_back(self) {
        on!(self, |connection| {
            let mut connection = connection;
            in_background(async move {
                // Dropped in the middle, what it returns closes the connection, and gives the pool its place back.
                let _ = timeout(RETURN, connection.return_to_pool()).await;
            });
        });
    }

    /// Closes the connection without a word to the other end, and gives its place in the pool free.
    pub(crate) fn close(self) {
        match self {
            // Its thread closes the file, which rolls back what is open. The next writer waits for that.
            Self::Sqlite(connection) => in_background(async move {
                let _ = timeout(RETURN, connection.close()).await;
            }),
            Self::Postgres(connection) => drop(connection.detach()),
            Self::MySql(connection) => drop(connection.detach()),
        }
    }

    /// Closes the connection once it has answered what it was asked, or `within`. It keeps its place in the pool so long:
    /// callers that go away must not have the server work on more than the pool has connections.
    fn close_when_quiet(mut self, within: Duration) {
        in_background(async move {
            let _ = timeout(within, self.ping()).await;
            self.close();
        });
    }

    /// Ends a transaction that was not committed, in the background.
    pub(crate) fn roll_back(self, within: Duration) {
        in_background(async move {
            let _ = Busy::new(self, within).end("ROLLBACK").await;
        });
    }
}

/// Runs this on the runtime, if there is still one.
fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work);
    }
}

/// A connection that is at work. Dropped, it is closed: its caller did not wait for an answer.
pub(crate) struct Busy {
    link: Option<Link>,
    within: Duration,
}

/// Asks something of the connection, and takes care of the connection where no answer comes.
macro_rules! ask {
    ($busy:expr, $until:expr, |$connection:ident| $asked:expr) => {{
        let answer = match $busy.link.as_mut() {
            Some(link) => timeout_at($until, async { on!(link, |$connection| $asked) }).await,
            None => Ok(Err(sqlx::Error::PoolClosed)),
        };
        $busy.judged(answer.unwrap_or_else(|_| Err(late())))
    }};
}

impl Busy {
    /// `within` is how long a caller's going away leaves the connection its place.
    pub(crate) fn new(link: Link, within: Duration) -> Self {
        Self {
            link: Some(link),
            within,
        }
    }

    /// The connection again, unless it was closed.
    pub(crate) fn link(mut self) -> Option<Link> {
        self.link.take()
    }

    /// Gives the connection back to its pool, unless it was closed.
    pub(crate) fn give_back(self) {
        if let Some(link) = self.link() {
            link.give_back();
        }
    }

    /// Closes the connection.
    pub(crate) fn close(self) {
        if let Some(link) = self.link() {
            link.close();
        }
    }

    pub(crate) async fn execute(
        &mut self,
        asked: &Statement,
        until: Instant,
    ) -> sqlx::Result<ExecResult> {
        ask!(self, until, |connection| {
            let done = query!(asked).execute(&mut **connection).await;
            done.map(Into::into)
        })
    }

    pub(crate) async fn unprepared(
        &mut self,
        sql: &str,
        until: Instant,
    ) -> sqlx::Result<ExecResult> {
        told(sql);
        ask!(self, until, |connection| {
            let sql = AssertSqlSafe(sql.to_owned());
            let done = (**connection).execute(sql).await;
            done.map(Into::into)
        })
    }

    pub(crate) async fn query_one(
        &mut self,
        asked: &Statement,
        until: Instant,
    ) -> sqlx::Result<Option<QueryResult>> {
        ask!(self, until, |connection| {
            let row = query!(asked).fetch_optional(&mut **connection).await;
            row.map(|row| row.map(Into::into))
        })
    }

    pub(crate) async fn query_all(
        &mut self,
        asked: &Statement,
        until: Instant,
    ) -> sqlx::Result<Vec<QueryResult>> {
        ask!(self, until, |connection| {
            let rows = query!(asked).fetch_all(&mut **connection).await?;
            Ok(rows.into_iter().map(Into::into).collect())
        })
    }

    pub(crate) async fn ping(&mut self, until: Instant) -> sqlx::Result<()> {
        ask!(self, until, |connection| connection.ping().await)
    }

    /// Ends a transaction with COMMIT or ROLLBACK, and gives the connection back; where that fails, the connection is closed.
    pub(crate) async fn end(mut self, sql: &str) -> sqlx::Result<()> {
        let ended = self.unprepared(sql, Instant::now() + self.within).await;
        match ended {
            Ok(_) => self.give_back(),
            Err(_) => self.close(),
        }
        ended.map(|_| ())
    }

    /// Closes the connection where this is no answer of the database, or one after which it is not to be trusted.
    fn judged<T>(&mut self, answer: sqlx::Result<T>) -> sqlx::Result<T> {
        if answer.as_ref().is_err_and(|error| !is_answer(error))
            && let Some(link) = self.link.take()
        {
            link.close();
        }
        answer
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.close_when_quiet(self.within);
        }
    }
}

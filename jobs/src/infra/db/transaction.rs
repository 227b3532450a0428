//! A transaction: it commits as a whole within its deadline, or its connection is closed and nothing of it exists.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::deadlines::{Deadlines, TRANSACTION};
use super::errors::{Transient, executed, late, queried, spares_the_transaction};
use super::link::{Busy, Link};
use super::outages::Outages;
use super::pool::Pool;

/// An open transaction. Dropped, it is rolled back.
///
/// After a statement that failed nothing more is done in it, on every database: MySQL and SQLite end a transaction by
/// themselves at some errors, and what came after would be committed one by one. A broken constraint is an answer where the
/// database goes on after it (not on PostgreSQL).
#[derive(Debug)]
pub struct Transaction {
    backend: DbBackend,
    state: Mutex<State>,
    deadlines: Deadlines,
    outages: Arc<Outages>,
    until: Instant,
}

/// The state of the connection.
#[derive(Debug)]
struct State {
    /// None where the connection is closed, or its statement was not waited for.
    link: Option<Link>,
    /// A statement failed: only a rollback is left.
    failed: bool,
}

impl Pool {
    /// Begins a transaction that writes. READ COMMITTED, because every state change locks the rows that it decides on; on
    /// SQLite it takes the writer's lock at once, since a reader that turns writer half-way can only fail.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_with(&[match self.get_database_backend() {
            DbBackend::Sqlite => "BEGIN IMMEDIATE",
            _ => "BEGIN",
        }])
        .await
    }

    /// Begins a transaction that only reads, and sees one state of the database from beginning to end.
    pub async fn snapshot(&self) -> Result<Transaction, DbErr> {
        let begin: &[&str] = match self.get_database_backend() {
            DbBackend::Sqlite => &["BEGIN"],
            DbBackend::Postgres => &["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
            _ => &[
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                "START TRANSACTION READ ONLY",
            ],
        };
        self.begin_with(begin).await
    }

    async fn begin_with(&self, begin: &[&str]) -> Result<Transaction, DbErr> {
        let (mut busy, until) = self.take().await?;
        for sql in begin {
            let begun = busy.unprepared(sql, until).await;
            if let Err(error) = self.heard(false, begun) {
                busy.close();
                return Err(queried(error));
            }
        }
        let deadlines = self.deadlines;
        Ok(Transaction {
            backend: self.get_database_backend(),
            state: Mutex::new(State {
                link: busy.link(),
                failed: false,
            }),
            deadlines,
            outages: Arc::clone(&self.outages),
            until: Instant::now() + deadlines.transaction,
        })
    }
}

/// Runs a statement, and keeps the connection where it may go on.
macro_rules! run {
    ($transaction:expr, |$busy:ident, $until:ident| $statement:expr) => {{
        let mut state = $transaction.state.lock().await;
        let (mut $busy, $until) = $transaction.take(&mut state)?;
        let answer = $statement;
        $transaction.outages.heard(false, &answer);
        if let Some(link) = $busy.link() {
            state.link = Some(link);
            let spared = |error| spares_the_transaction($transaction.backend, error);
            state.failed = answer.as_ref().is_err_and(|error| !spared(error));
        }
        answer
    }};
}

impl Transaction {
    /// The connection for one more statement, and until when that may take.
    fn take(&self, state: &mut State) -> Result<(Busy, Instant), DbErr> {
        if state.failed {
            let message = "an earlier statement of this transaction failed";
            return Err(DbErr::Custom(message.into()));
        }
        let link = state.link.take().ok_or_else(|| queried(late()))?;
        let within = self.deadlines.statement;
        let until = self.until.min(Instant::now() + within);
        Ok((Busy::new(link, within), until))
    }

    /// Commits. An error that is not the database's own says nothing of whether it was done: the answer may have been lost
    /// on its way. The connection is closed then.
    pub async fn commit(self) -> Result<(), DbErr> {
        let mut state = self.state.lock().await;
        if Instant::now() >= self.until {
            return Err(queried(late()));
        }
        let (busy, _) = self.take(&mut state)?;
        let committed = busy.end("COMMIT").await;
        self.outages.heard(true, &committed);
        committed.map_err(queried)
    }

    /// Rolls back. Nothing of the transaction is left, also where this fails: the connection is closed then.
    pub async fn rollback(mut self) -> Result<(), DbErr> {
        match self.state.get_mut().link.take() {
            Some(link) => {
                let busy = Busy::new(link, self.deadlines.statement);
                busy.end("ROLLBACK").await.map_err(queried)
            }
            None => Ok(()),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(link) = self.state.get_mut().link.take() {
            link.roll_back(self.deadlines.statement);
        }
    }
}

#[async_trait::async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        run!(self, |busy, until| busy.execute(&stmt, until).await).map_err(executed)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        run!(self, |busy, until| busy.unprepared(sql, until).await).map_err(executed)
    }

    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        run!(self, |busy, until| busy.query_one(&stmt, until).await).map_err(queried)
    }

    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        run!(self, |busy, until| busy.query_all(&stmt, until).await).map_err(queried)
    }
}

/// Runs `$body` in a transaction and commits it; runs it again when the database says that it lost a deadlock, as often and
/// as long as [`Tries`] has it. The body must only read and write through `$tx`, and its error type be `From<DbErr>` and
/// have `is_transient()`.
macro_rules! in_transaction {
    ($db:expr, |$tx:ident| $body:expr) => {{
        let mut tries = $crate::infra::db::Tries::begin();
        loop {
            let $tx = match $db.begin().await {
                Ok(tx) => tx,
                Err(error) if tries.again(&error).await => continue,
                Err(error) => break Err(error.into()),
            };
            // On the heap: bodies are large, and callers nest.
            let outcome = Box::pin(async { $body }).await;
            let outcome = match outcome {
                Ok(value) => $tx.commit().await.map(|()| value).map_err(Into::into),
                Err(error) => {
                    // A failed rollback leaves nothing behind either: the connection is closed.
                    let _ = $tx.rollback().await;
                    Err(error)
                }
            };
            match outcome {
                Err(error) if tries.again(&error).await => {
                    tracing::debug!("transaction lost a deadlock: running it again");
                }
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use in_transaction;

/// Most runs of a transaction that lost a deadlock.
const MOST: u32 = 10;

/// The tries of one transaction.
///
/// None begins once the first began [`TRANSACTION`] ago: a lock that could not be had in time is waited for again, and
/// each of these waits may be long. So the whole ends within twice that time.
pub(crate) struct Tries {
    began: Instant,
    made: u32,
}

impl Tries {
    /// The first one begins.
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            made: 1,
        }
    }

    /// Whether another try may help after this error, and is to be made. It waits a little and at random before that, so
    /// that two transactions do not meet again.
    pub(crate) async fn again(&mut self, error: &impl Transient) -> bool {
        let begins = self.made < MOST && self.began.elapsed() < TRANSACTION;
        if !begins || !error.is_transient() {
            return false;
        }
        let most = 5u64 << self.made.min(6);
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..=most))).await;
        self.made += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Error(bool);

    impl Transient for Error {
        fn is_transient(&self) -> bool {
            self.0
        }
    }

    #[tokio::test]
    async fn they_are_bounded_by_number() {
        let mut tries = Tries::begin();
        assert!(!tries.again(&Error(false)).await);
        for _ in 1..MOST {
            assert!(tries.again(&Error(true)).await);
        }
        assert!(!tries.again(&Error(true)).await);
    }

    #[tokio::test]
    async fn they_are_bounded_by_time() {
        // Each waits ten seconds for a row.
        let after = |seconds| Tries {
            began: Instant::now()
                .checked_sub(Duration::from_secs(seconds))
                .unwrap(),
            made: 1,
        };
        assert!(after(10).again(&Error(true)).await);
        assert!(!after(20).again(&Error(true)).await);
    }
}

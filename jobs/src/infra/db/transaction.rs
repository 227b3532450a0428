//! A transaction: it commits as a whole within its deadline, or its connection is closed and nothing of it exists.

use std::fmt;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::deadlines::Deadlines;
use super::errors::{executed, late, queried, spares_the_transaction};
use super::link::{Busy, Link};
use super::outages::Outages;
use super::pool::Pool;

/// An open transaction. Dropped, it is rolled back.
///
/// After a statement that failed nothing more is done in it, on every database: MySQL and SQLite end a transaction by
/// themselves at some errors, and what came after would be committed one by one. A broken constraint is an answer where the
/// database goes on after it (not on PostgreSQL).
pub struct Transaction {
    backend: DbBackend,
    state: Mutex<State>,
    deadlines: Deadlines,
    outages: Arc<Outages>,
    until: Instant,
}

/// The state of the connection.
enum State {
    Open(Link),
    /// A statement failed: only a rollback is left.
    Failed(Link),
    /// The connection is closed, or its statement was not waited for.
    Gone,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
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
            state: Mutex::new(busy.link().map_or(State::Gone, State::Open)),
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
            let error = answer.as_ref().err();
            *state = match error
                .is_none_or(|error| spares_the_transaction($transaction.backend, error))
            {
                true => State::Open(link),
                false => State::Failed(link),
            };
        }
        answer
    }};
}

impl Transaction {
    /// The connection for one more statement, and until when that may take.
    fn take(&self, state: &mut MutexGuard<'_, State>) -> Result<(Busy, Instant), DbErr> {
        match std::mem::replace(&mut **state, State::Gone) {
            State::Open(link) => {
                let within = self.deadlines.statement;
                let until = self.until.min(Instant::now() + within);
                Ok((Busy::new(link, within), until))
            }
            State::Failed(link) => {
                **state = State::Failed(link);
                Err(failed())
            }
            State::Gone => Err(queried(late())),
        }
    }

    /// Commits. An error that is not the database's own says nothing of whether it was done: the answer may have been lost
    /// on its way. The connection is closed then.
    pub async fn commit(mut self) -> Result<(), DbErr> {
        let state = std::mem::replace(self.state.get_mut(), State::Gone);
        let within = self.deadlines.statement;
        match state {
            State::Open(link) if Instant::now() < self.until => {
                let mut busy = Busy::new(link, within);
                let committed = busy.unprepared("COMMIT", Instant::now() + within).await;
                self.outages.heard(true, &committed);
                match committed {
                    Ok(_) => busy.give_back(),
                    Err(error) => {
                        busy.close();
                        return Err(queried(error));
                    }
                }
                Ok(())
            }
            State::Open(link) => {
                link.roll_back(within);
                Err(queried(late()))
            }
            State::Failed(link) => {
                link.roll_back(within);
                Err(failed())
            }
            State::Gone => Err(queried(late())),
        }
    }

    /// Rolls back. Nothing of the transaction is left, also where this fails: the connection is closed then.
    pub async fn rollback(mut self) -> Result<(), DbErr> {
        let state = std::mem::replace(self.state.get_mut(), State::Gone);
        let (State::Open(link) | State::Failed(link)) = state else {
            return Ok(());
        };
        let within = self.deadlines.statement;
        let mut busy = Busy::new(link, within);
        match busy.unprepared("ROLLBACK", Instant::now() + within).await {
            Ok(_) => {
                busy.give_back();
                Ok(())
            }
            Err(error) => {
                busy.close();
                Err(queried(error))
            }
        }
    }
}

fn failed() -> DbErr {
    DbErr::Custom("an earlier statement of this transaction failed".into())
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let state = std::mem::replace(self.state.get_mut(), State::Gone);
        if let State::Open(link) | State::Failed(link) = state {
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

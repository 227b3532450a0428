//! How long the database may take. All times of the database layer are here.
//!
//! A lease is 15 s by default and a host is offline after 30 s: an attempt at either has to fail early enough for the next
//! one to be in time. A server ends a statement itself a moment before it is given up here, so that an answer that does not
//! come means that the connection is silent.

use std::time::Duration;

/// How long a connection is waited for; on SQLite also the writer's lock.
pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// How long the server works on one statement of the background, waits for locks included.
pub(crate) const STATEMENT: Duration = Duration::from_secs(10);

/// How long a transaction may be open. The server ends one that stands still for this long.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(20);

/// How much longer than the server works on a statement its answer is waited for.
pub(crate) const MOMENT: Duration = Duration::from_secs(2);

/// How long an idle connection may take to answer that it is alive, before it is used.
pub(crate) const TEST: Duration = Duration::from_secs(2);

/// How long a connection may be idle and still be used untested: a test is a round trip before every statement.
pub(crate) const FRESH: Duration = Duration::from_secs(1);

/// Time between two looks of PostgreSQL, in the middle of a statement, whether its client is still there.
pub(crate) const CLIENT_CHECK: Duration = Duration::from_secs(2);

/// How long an SQLite statement may take: it may wait for the writer's lock, and for a slow disk.
const LOCAL: Duration = Duration::from_secs(30);

/// The deadlines of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadlines {
    /// Of a statement's answer, once there is a connection.
    pub(crate) statement: Duration,
    /// Of the wait for a connection and the statement's answer together, where there is such a limit.
    pub(crate) both: Option<Duration>,
    /// Of a transaction, from its beginning to its COMMIT.
    pub(crate) transaction: Duration,
}

impl Deadlines {
    /// For the file of an SQLite database.
    pub(crate) const LOCAL: Self = Self {
        statement: LOCAL,
        both: None,
        transaction: LOCAL,
    };

    /// For a server that ends statements after `limit`.
    pub(crate) fn of_server(limit: Duration) -> Self {
        Self {
            statement: limit + MOMENT,
            both: None,
            transaction: TRANSACTION.max(limit + MOMENT),
        }
    }
}

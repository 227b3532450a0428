//! What a database's URL means, and how the pools of connections to it are made.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions as _, Connection as _, Database, Executor as _,
};
use sea_orm::{DbBackend, DbErr};
use tokio::time::timeout;

use super::deadlines::{CLIENT_CHECK, Deadlines, FRESH, TEST, TRANSACTION, WAIT};
use super::errors::{acquired, is_answer, late};
use super::outages::Outages;
use super::pool::{Connections, Pool};

/// The kind of database that a URL names.
pub(crate) fn backend(url: &str) -> Result<DbBackend, DbErr> {
    match url.split(':').next() {
        Some("sqlite") => Ok(DbBackend::Sqlite),
        Some("postgres" | "postgresql") => Ok(DbBackend::Postgres),
        Some("mysql" | "mariadb") => Ok(DbBackend::MySql),
        _ => Err(DbErr::Custom(
            "a database's URL begins with sqlite:, postgres: or mysql:".into(),
        )),
    }
}

/// The files of the database that a URL names: the database itself and what SQLite puts beside it, whether they are there or
/// not. None for a database of a server, or in memory.
pub fn files(url: &str) -> Vec<PathBuf> {
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    if !url.starts_with("sqlite:") || in_memory {
        return Vec::new();
    }
    let Ok(options) = url.parse::<SqliteConnectOptions>() else {
        return Vec::new();
    };
    let database = options.get_filename().as_os_str();
    let beside = ["", "-wal", "-shm", "-journal"].map(|end| {
        let mut file = database.to_owned();
        file.push(end);
        PathBuf::from(file)
    });
    beside.into()
}

/// Connections to an SQLite file.
pub(crate) async fn sqlite(
    url: &str,
    connections: u32,
    outages: Arc<Outages>,
) -> Result<Pool, DbErr> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(acquired)?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(WAIT)
        .disable_statement_logging();
    let is_unsynced = Arc::new(AtomicBool::new(false));
    let new_one = Arc::clone(&is_unsynced);
    // A file does not go away: a test would only be a way to the connection's thread and back before every statement.
    let pool = at_most(connections)
        .after_connect(move |_, _| {
            new_one.store(false, Ordering::SeqCst);
            Box::pin(std::future::ready(Ok(())))
        })
        .min_connections(1)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(acquired)?;
    Ok(Pool {
        connections: Connections::Sqlite(pool),
        deadlines: Deadlines::LOCAL,
        outages,
        unsynced: false,
        is_unsynced,
    })
}

/// When an idle connection of a pool was last found silent. Those that were idle at that time are closed untested: a caller would
/// test one after the other, each as long as the first.
#[derive(Default)]
struct Silence(Mutex<Option<Instant>>);

impl Silence {
    fn noticed(&self) {
        *self.0.lock() = Some(Instant::now());
    }

    /// Whether a connection that is idle for so long was so when the silence was noticed.
    fn outlasted_by(&self, idle_for: Duration) -> bool {
        self.0.lock().is_some_and(|at| at.elapsed() < idle_for)
    }
}

/// A server, for making pools of connections to it.
pub(crate) struct Server<'a> {
    pub(crate) url: &'a str,
    pub(crate) outages: Arc<Outages>,
}

impl Server<'_> {
    /// Opens a pool of at most so many connections, with one at first. The server works on one statement no longer than `limit`.
    /// `parameters` are more parameters of PostgreSQL's sessions.
    pub(crate) async fn connect(
        &self,
        most: u32,
        limit: Duration,
        parameters: &[(&str, &str)],
    ) -> Result<Pool, DbErr> {
        let connections = if backend(self.url)? == DbBackend::Postgres {
            let pool = options(most)
                .after_connect(|connection, _| Box::pin(in_time(set_postgres(connection))))
                .connect_with(self.postgres(limit)?.options(parameters.iter().copied()))
                .await;
            Connections::Postgres(pool.map_err(acquired)?)
        } else {
            let server = MySqlConnectOptions::from_str(self.url)
                .map_err(acquired)?
                .disable_statement_logging();
            let pool = options(most)
                .after_connect(move |connection, _| Box::pin(in_time(set_mysql(connection, limit))))
                .connect_with(server)
                .await;
            Connections::MySql(pool.map_err(acquired)?)
        };
        Ok(Pool {
            connections,
            deadlines: Deadlines::of_server(limit),
            outages: Arc::clone(&self.outages),
            unsynced: false,
            is_unsynced: Arc::default(),
        })
    }

    /// The server ends what takes too long or stands still, and drops clients that are gone: their rows stay locked until then.
    fn postgres(&self, limit: Duration) -> Result<PgConnectOptions, DbErr> {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let open = milliseconds(TRANSACTION);
        let options = PgConnectOptions::from_str(self.url)
            .map_err(acquired)?
            .disable_statement_logging()
            .options([
                ("default_transaction_isolation", "read committed"),
                ("tcp_keepalives_idle", "10"),
                ("tcp_keepalives_interval", "5"),
                ("tcp_keepalives_count", "3"),
            ])
            .options([
                ("statement_timeout", milliseconds(limit)),
                ("idle_in_transaction_session_timeout", open.clone()),
                ("tcp_user_timeout", open),
            ]);
        Ok(options)
    }
}

/// A pool of which no connection is closed because it was idle, or is old: sqlx 0.9 counts idle connections one too few for a moment,
/// and its task that looks for such ones then goes through 2^64 of them, on a thread that does nothing else any more.
pub(crate) fn at_most<DB: Database>(connections: u32) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// No connection is opened in the background, to have a least number of them: where the server is silent, they hold their place for
/// minutes.
fn options<DB: Database>(most: u32) -> PoolOptions<DB> {
    let silence = Arc::<Silence>::default();
    at_most(most)
        .min_connections(0)
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut DB::Connection, idle| {
            let silence = Arc::clone(&silence);
            Box::pin(async move {
                if silence.outlasted_by(idle.idle_for) {
                    return Ok(false);
                }
                if idle.idle_for < FRESH {
                    return Ok(true);
                }
                let answer = timeout(TEST, connection.ping()).await;
                if answer.is_err() {
                    silence.noticed();
                }
                // Otherwise it is closed, and another one opened.
                Ok(matches!(answer, Ok(Ok(()))))
            })
        })
}

/// Sets a new connection up, or gives it up.
async fn in_time(set: impl Future<Output = sqlx::Result<()>>) -> sqlx::Result<()> {
    timeout(WAIT, set).await.unwrap_or_else(|_| Err(late()))
}

/// PostgreSQL looks in the middle of a statement whether the client has gone, and ends the statement then. Not every system
/// that it runs on can tell: it refuses the parameter there, and goes on to the end of the statement.
async fn set_postgres(connection: &mut PgConnection) -> sqlx::Result<()> {
    let check = format!(
        "SET client_connection_check_interval = {}",
        CLIENT_CHECK.as_millis()
    );
    match connection.execute(AssertSqlSafe(check)).await {
        Ok(_) => Ok(()),
        Err(error) if is_answer(&error) => {
            tracing::debug!(%error, "the server does not look whether clients are gone");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// MariaDB's `max_statement_time` is for every statement. MySQL's is only for reading: for its other statements there is
/// the time that they may wait for a row, and it closes connections that stand still, in a transaction or not.
async fn set_mysql(connection: &mut MySqlConnection, limit: Duration) -> sqlx::Result<()> {
    connection
        .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        .await?;
    let version: String = sqlx::query_scalar("SELECT VERSION()")
        .fetch_one(&mut *connection)
        .await?;
    let (wait, idle) = (limit.as_secs().max(1), TRANSACTION.as_secs());
    let limits = if version.contains("MariaDB") {
        let limit = limit.as_secs_f64();
        format!("max_statement_time = {limit}, idle_transaction_timeout = {idle}")
    } else {
        let limit = limit.as_millis();
        format!("max_execution_time = {limit}, wait_timeout = {idle}")
    };
    let set = format!("SET SESSION innodb_lock_wait_timeout = {wait}, {limits}");
    connection.execute(AssertSqlSafe(set)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_an_sqlite_url_are_known() {
        for (url, file) in [
            ("sqlite:///data/w.db?mode=rwc", "/data/w.db"),
            ("sqlite://w.db", "w.db"),
            ("sqlite:w.db?mode=rwc", "w.db"),
            ("sqlite:///data/w%3F.db", "/data/w?.db"),
        ] {
            let files = files(url);
            assert_eq!(files[0], PathBuf::from(file), "{url}");
            assert_eq!(files[1], PathBuf::from(format!("{file}-wal")), "{url}");
        }
        for none in [
            "sqlite::memory:",
            "sqlite://x?mode=memory",
            "postgres://h/d",
        ] {
            assert!(files(none).is_empty(), "{none}");
        }
    }
}

//! Tables and rows that are locked behind Wharfinger's back, so that a statement is certainly in its middle.

use sea_orm::{
    ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, QueryResult,
    Statement,
};

use super::eventually;

/// A lock that a session holds. It goes with this.
pub(crate) struct Lock {
    connection: DatabaseConnection,
    url: String,
}

impl Lock {
    /// Locks a whole table of the database at `url`: not even reading passes.
    pub(crate) async fn table(url: &str, table: &str) -> Self {
        let lock = |backend| match backend {
            DbBackend::Postgres => format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            _ => format!("LOCK TABLES {table} WRITE"),
        };
        Self::take(url, lock).await
    }

    /// Locks every row of a table: only who would lock one waits.
    pub(crate) async fn rows(url: &str, table: &str) -> Self {
        Self::take(url, |_| format!("BEGIN; SELECT id FROM {table} FOR UPDATE")).await
    }

    async fn take(url: &str, lock: impl Fn(DbBackend) -> String) -> Self {
        // One connection, because the lock is its session's.
        let mut options = ConnectOptions::new(url);
        options.max_connections(1).min_connections(1);
        let connection = Database::connect(options).await.unwrap();
        let lock = lock(connection.get_database_backend());
        connection.execute_unprepared(&lock).await.unwrap();
        Self {
            connection,
            url: url.to_owned(),
        }
    }

    /// Waits until a statement with all of these words waits for the lock.
    pub(crate) async fn holds_up(&self, words: &[&str]) {
        let look = Database::connect(&self.url).await.unwrap();
        let backend = look.get_database_backend();
        let waiting = match backend {
            DbBackend::Postgres => {
                "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            }
            // Its views of locks do not show all of them: what takes so long waits.
            _ => {
                "SELECT info AS query FROM information_schema.processlist WHERE db = database() AND command <> 'Sleep' AND time_ms > 300"
            }
        };
        eventually(&format!("a statement with {words:?} waits"), || async {
            // MariaDB sometimes stumbles over its own temporary table.
            let rows = look
                .query_all_raw(Statement::from_string(backend, waiting))
                .await
                .ok()?;
            let query = |row: QueryResult| row.try_get::<Option<String>>("", "query").unwrap();
            let queries = rows.into_iter().filter_map(query);
            queries
                .map(|query| query.replace(['"', '`'], ""))
                .any(|query| words.iter().all(|word| query.contains(word)))
                .then_some(())
        })
        .await;
        look.close().await.unwrap();
    }

    /// Gives it back.
    pub(crate) async fn release(self) {
        self.connection.close().await.unwrap();
    }
}

//! Databases, with one table for tests.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection, Statement};
use tempfile::TempDir;
use uuid::Uuid;
use wharfinger_jobs::infra::db::Db;

/// How long anything may take before its test fails: long enough for a busy machine.
const DEADLINE: Duration = Duration::from_mins(3);

/// Waits for something, but not for ever.
pub(crate) async fn in_time<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    waited.unwrap_or_else(|_elapsed| panic!("{what}: not within {DEADLINE:?}"))
}

/// An empty database, with a table `t` of numbers.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    /// A connection that has nothing to do with those under test.
    pub(crate) beside: DatabaseConnection,
    _directory: Option<TempDir>,
}

impl TestDatabase {
    pub(crate) async fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite:{}/t.db?mode=rwc", directory.path().display());
        Self::with_table(url, Some(directory)).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::on_server("WHARFINGER_TEST_POSTGRES_URL").await
    }

    pub(crate) async fn mariadb() -> Self {
        Self::on_server("WHARFINGER_TEST_MYSQL_URL").await
    }

    async fn on_server(variable: &str) -> Self {
        let server = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set: run `make test`"));
        let name = format!("database_{}", Uuid::new_v4().simple());
        let admin = Database::connect(&server).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        admin.execute_unprepared(&create).await.unwrap();
        admin.close().await.unwrap();
        let mut url: url::Url = server.parse().unwrap();
        url.set_path(&name);
        Self::with_table(url.into(), None).await
    }

    async fn with_table(url: String, directory: Option<TempDir>) -> Self {
        // The first connection makes the file one with a log (WAL).
        drop(Db::connect(&url).await.unwrap());
        let beside = Database::connect(&url).await.unwrap();
        let create = "CREATE TABLE t (n BIGINT NOT NULL PRIMARY KEY)";
        beside.execute_unprepared(create).await.unwrap();
        Self {
            url,
            beside,
            _directory: directory,
        }
    }

    /// Whether another connection sees the number.
    pub(crate) async fn has(&self, number: i64) -> bool {
        let sql = format!("SELECT n FROM t WHERE n = {number}");
        let select = Statement::from_string(self.beside.get_database_backend(), sql);
        self.beside.query_one_raw(select).await.unwrap().is_some()
    }
}

/// The statement that stores a number.
pub(crate) fn insert(number: i64) -> String {
    format!("INSERT INTO t (n) VALUES ({number})")
}

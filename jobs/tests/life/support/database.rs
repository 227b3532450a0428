//! A database of its own for each test.

use std::path::Path;

use sea_orm::{ConnectionTrait as _, Database};
use tempfile::TempDir;
use uuid::Uuid;
use wharfinger_jobs::infra::db::Db;

use super::{Shape, variable};

/// The file of a SQLite database.
const FILE: &str = "wharfinger.db";

/// An empty database. SQLite's file goes with it; the servers' go with the servers.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    directory: Option<TempDir>,
}

impl TestDatabase {
    /// Makes one, without any table.
    pub(crate) async fn create(shape: Shape) -> Self {
        Self::create_with(shape, "").await
    }

    /// The same; where the database sorts text by the rules of a language if it can, as most people's do.
    pub(crate) async fn create_sorting_as_people_do(shape: Shape) -> Self {
        let options = match shape {
            Shape::Postgres => "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'",
            Shape::Embedded | Shape::MariaDb => "",
        };
        Self::create_with(shape, options).await
    }

    async fn create_with(shape: Shape, options: &str) -> Self {
        let variable = match shape {
            Shape::Embedded => {
                return Self::in_directory(folder());
            }
            Shape::Postgres => variable("WHARFINGER_TEST_POSTGRES_URL"),
            Shape::MariaDb => variable("WHARFINGER_TEST_MYSQL_URL"),
        };
        let name = format!("life_{}", Uuid::new_v4().simple());
        let server = Database::connect(&variable).await.unwrap();
        server
            .execute_unprepared(&format!("CREATE DATABASE {name} {options}"))
            .await
            .unwrap();
        server.close().await.unwrap();
        let mut url: url::Url = variable.parse().unwrap();
        url.set_path(&name);
        Self {
            url: url.into(),
            directory: None,
        }
    }

    /// A copy of a SQLite database.
    pub(crate) fn copy(&self) -> Self {
        let directory = folder();
        let original = self.directory.as_ref().expect("a SQLite database").path();
        // What is committed may be in the log still.
        for name in [FILE, &format!("{FILE}-wal")] {
            let file = original.join(name);
            if file.exists() {
                std::fs::copy(file, directory.path().join(name)).unwrap();
            }
        }
        Self::in_directory(directory)
    }

    fn in_directory(directory: TempDir) -> Self {
        let file = directory.path().join(FILE);
        Self {
            url: format!("sqlite:{}?mode=rwc", file.display()),
            directory: Some(directory),
        }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Db {
        Db::connect(&self.url).await.unwrap()
    }
}

/// A folder in memory where the system has a place for that: the servers of the tests do not wait for their disks either.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        TempDir::new_in(memory)
    } else {
        TempDir::new()
    };
    folder.unwrap()
}

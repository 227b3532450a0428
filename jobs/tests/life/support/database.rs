//! A database of its own for each test.

use sea_orm::{ConnectionTrait as _, Database};
use tempfile::TempDir;
use uuid::Uuid;
use wharfinger_jobs::db::Db;

use super::{Shape, variable};

/// An empty database. SQLite's file goes with it; the servers' go with the servers.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _directory: Option<TempDir>,
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
                let directory = TempDir::new().unwrap();
                let file = directory.path().join("wharfinger.db");
                return Self {
                    url: format!("sqlite:{}?mode=rwc", file.display()),
                    _directory: Some(directory),
                };
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
            _directory: None,
        }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Db {
        Db::connect(&self.url).await.unwrap()
    }
}

//! What `bench.sh` passes on, and databases of a bench's own.

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

use crate::Outcome;

pub(crate) fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set: use make bench-…").into())
}

/// A number from the environment, for a quick look; else the one that the figures are made with.
pub(crate) fn count(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// An empty PostgreSQL database, by its URL.
pub(crate) async fn postgres_database() -> Outcome<String> {
    let server = variable("WHARFINGER_TEST_POSTGRES_URL")?;
    let (base, _) = server
        .rsplit_once('/')
        .ok_or("WHARFINGER_TEST_POSTGRES_URL names no database")?;
    let name = format!("bench_{}", uuid::Uuid::new_v4().simple());
    let admin = connect(&server).await?;
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name}"))
        .await?;
    admin.close().await?;
    Ok(format!("{base}/{name}"))
}

pub(crate) async fn connect(url: &str) -> Outcome<DatabaseConnection> {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.sqlx_logging(false).max_connections(4);
    Ok(Database::connect(options).await?)
}

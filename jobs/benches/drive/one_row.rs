//! The bare minimum of anything durable: one row in one table, committed.

use std::time::Instant;

use sea_orm::ConnectionTrait;

use crate::Outcome;
use crate::environment::{connect, postgres_database};
use crate::stats::{Sample, milliseconds};

/// Commits one row after another on PostgreSQL.
pub(crate) async fn commits(count: usize) -> Outcome<Sample> {
    of(&postgres_database().await?, count).await
}

/// The same on any database.
pub(crate) async fn of(url: &str, count: usize) -> Outcome<Sample> {
    let database = connect(url).await?;
    if url.starts_with("sqlite:") {
        // As Wharfinger's own file is; SQLite syncs each commit by itself.
        database
            .execute_unprepared("PRAGMA journal_mode = WAL")
            .await?;
    }
    database
        .execute_unprepared("CREATE TABLE one_row (id bigint PRIMARY KEY)")
        .await?;
    let mut times = Vec::new();
    for number in 0..count {
        let start = Instant::now();
        database
            .execute_unprepared(&format!("INSERT INTO one_row (id) VALUES ({number})"))
            .await?;
        times.push(milliseconds(start.elapsed()));
    }
    Ok(Sample::new(times))
}

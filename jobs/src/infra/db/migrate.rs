//! Bringing the schema up to date.

use std::time::Duration;

use sea_orm::sqlx::{MySql, Postgres, Sqlite};
use sea_orm::{DatabaseConnection, DbErr};
use wharfinger_migration::{Migrator, MigratorTrait as _};

use super::Db;
use super::connect::at_most;
use super::errors::acquired;
use super::pool::{Connections, Pool};

/// How often it is looked what a migration has left to do.
const TRIES: u32 = 20;

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(250);

impl Db {
    /// Brings the schema up to date. Several processes may do it at once: each statement happens once, and a process that
    /// lost a race looks again at what is left to do.
    pub async fn migrate(&self) -> Result<(), DbErr> {
        let mut tries = 0;
        loop {
            tries += 1;
            // A connection of its own each time: a migration may take as long as it needs, and one that failed may have left
            // a transaction open.
            let connection = unlimited(&self.write).await?;
            let done = Migrator::up(&connection, None).await;
            let _ = connection.close().await;
            match done {
                Err(error) if tries < TRIES => {
                    tracing::debug!(%error, "the migration was interfered with: looking again");
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }
}

/// One connection to the database of this pool, whose statements may take any time.
async fn unlimited(pool: &Pool) -> Result<DatabaseConnection, DbErr> {
    macro_rules! one {
        ($database:ty, $options:expr) => {
            at_most::<$database>(1)
                .connect_with($options)
                .await
                .map_err(acquired)?
                .into()
        };
    }
    Ok(match &pool.connections {
        Connections::Sqlite(pool) => one!(Sqlite, pool.connect_options().as_ref().clone()),
        Connections::Postgres(pool) => {
            let options = pool.connect_options().as_ref().clone().options([
                ("statement_timeout", "0"),
                ("idle_in_transaction_session_timeout", "0"),
            ]);
            one!(Postgres, options)
        }
        Connections::MySql(pool) => one!(MySql, pool.connect_options().as_ref().clone()),
    })
}

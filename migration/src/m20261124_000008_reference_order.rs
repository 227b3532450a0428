//! References are in the same order on every database: that of their bytes. PostgreSQL sorts text by the rules of a
//! language unless told otherwise, SQLite and MariaDB as the tables are made do not.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DatabaseBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        collate(manager, "C").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        collate(manager, "default").await
    }
}

/// Gives the references of images a collation, and their indexes with them.
async fn collate(manager: &SchemaManager<'_>, collation: &str) -> Result<(), DbErr> {
    if manager.get_database_backend() != DatabaseBackend::Postgres {
        return Ok(());
    }
    let statement = format!(
        r#"ALTER TABLE images ALTER COLUMN reference TYPE varchar(512) COLLATE "{collation}""#
    );
    manager
        .get_connection()
        .execute_unprepared(&statement)
        .await
        .map(drop)
}

//! The indexes of the fair order give the whole order. A database that has not counted its rows yet (PostgreSQL in the first
//! minute of a burst) takes any index that it can; one that spares it a sort is the best for it then, too.

use sea_orm_migration::prelude::*;

use crate::columns::{create_index, drop_index, index};

/// Of the table `jobs`, as they were and as they are.
const WAITING: [&[&str]; 2] = [
    &["host_id", "live", "state", "turn"],
    &["host_id", "live", "state", "turn", "id"],
];
const EARLIER: [&[&str]; 2] = [
    &["user_id", "live", "host_id", "reference"],
    &["user_id", "live", "host_id", "reference", "ordinal"],
];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for [before, now] in [WAITING, EARLIER] {
            create_index(manager, index("jobs", now)).await?;
            drop_index(manager, &index("jobs", before)).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for [before, now] in [WAITING, EARLIER] {
            create_index(manager, index("jobs", before)).await?;
            drop_index(manager, &index("jobs", now)).await?;
        }
        Ok(())
    }
}

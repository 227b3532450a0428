//! Columns for a job's waits (rate limits, free retries), for dead letters whose retry was refused, and for the worker that
//! holds an image's lock.

use sea_orm_migration::prelude::*;

use crate::columns::{add_column, drop_column, small, text_or_null, whole_or_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_column(manager, "jobs", whole_or_null("rate_limited_since")).await?;
        let mut free = small("free_in_a_row");
        free.default(0);
        add_column(manager, "jobs", free).await?;
        add_column(manager, "jobs", whole_or_null("redrive_refused_at")).await?;
        add_column(manager, "engine_images", text_or_null("lock_holder", 255)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_column(manager, "engine_images", "lock_holder").await?;
        for column in ["redrive_refused_at", "free_in_a_row", "rate_limited_since"] {
            drop_column(manager, "jobs", column).await?;
        }
        Ok(())
    }
}

//! The number of the newest push of a job to its queue: a worker refuses messages of earlier ones. And an index by which those that
//! are handed out are found among all that wait.

use sea_orm_migration::prelude::*;

use crate::columns::{add_column, create_index, drop_column, index, small};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut push = small("push");
        push.default(0);
        add_column(manager, "jobs", push).await?;
        create_index(manager, index("jobs", &["host_id", "dispatched_at"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let handed_out = Index::drop()
            .name("ix_jobs_host_id_dispatched_at")
            .table("jobs")
            .to_owned();
        manager.drop_index(handed_out).await?;
        drop_column(manager, "jobs", "push").await
    }
}

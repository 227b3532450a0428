//! Tables for administration: paused queues, images that containers use, and runs of the clean-up.

use sea_orm_migration::prelude::*;

use crate::columns::{
    create, create_index, drop, id, id_or_null, index, references, table, text, unique, whole,
    whole_or_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Its id is the host's: a queue is paused or it is not.
        let paused_queues = table(manager, "paused_queues")
            .col(whole("paused_at"))
            .foreign_key(&mut references("paused_queues", "id", "hosts"))
            .to_owned();
        create(manager, &paused_queues, vec![]).await?;

        // Its id is the engine image's.
        let images_in_use = table(manager, "images_in_use")
            .col(id("host_id"))
            .col(whole("seen_at"))
            .foreign_key(&mut references("images_in_use", "id", "engine_images"))
            .foreign_key(&mut references("images_in_use", "host_id", "hosts"))
            .to_owned();
        create(
            manager,
            &images_in_use,
            vec![index("images_in_use", &["host_id"])],
        )
        .await?;

        let sweep_runs = table(manager, "sweep_runs")
            .col(whole("scheduled_at"))
            .col(text("schedule", 255))
            .col(id_or_null("runner"))
            .col(whole_or_null("lease_until"))
            .col(whole("started_at"))
            .col(whole_or_null("finished_at"))
            .col(whole("jobs"))
            .to_owned();
        // Jobs that ended on a day, for the board.
        create_index(manager, index("jobs", &["finished_at", "host_id"])).await?;
        create(
            manager,
            &sweep_runs,
            vec![
                // The process that inserts the row of an instant runs its sweep.
                unique("sweep_runs", &["scheduled_at"]),
                index("sweep_runs", &["schedule", "scheduled_at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let finished = Index::drop()
            .name("ix_jobs_finished_at_host_id")
            .table("jobs")
            .to_owned();
        manager.drop_index(finished).await?;
        drop(manager, &["sweep_runs", "images_in_use", "paused_queues"]).await
    }
}

//! Jobs, their attempts, and the keys that make mutations happen once.

use sea_orm_migration::prelude::*;

use crate::columns::{
    create, drop, flag, flag_or_null, id, id_or_null, index, live, references, small, table, text,
    text_or_null, unique, whole, whole_or_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let jobs = table(manager, "jobs")
            .col(text("kind", 32))
            .col(text("state", 32))
            .col(id("user_id"))
            .col(id_or_null("host_id"))
            .col(flag("host_named"))
            .col(text("reference", 512))
            .col(id_or_null("image_id"))
            .col(id_or_null("engine_image_id"))
            .col(text_or_null("tag_before", 160))
            .col(whole("held"))
            .col(small("attempt"))
            .col(small("max_attempts"))
            .col(whole("ordinal"))
            .col(whole("turn"))
            .col(whole("run_after"))
            .col(whole_or_null("dispatched_at"))
            .col(text_or_null("worker", 255))
            .col(whole_or_null("lease_until"))
            .col(flag("cancel_requested"))
            .col(flag("touched_engine"))
            .col(small("sequence"))
            .col(ColumnDef::new("progress").json().null())
            .col(text_or_null("error_code", 32))
            .col(ColumnDef::new("error_message").text().null())
            .col(flag_or_null("error_retryable"))
            .col(text_or_null("traceparent", 64))
            .col(whole("created_at"))
            .col(whole("accepted_at"))
            .col(whole_or_null("started_at"))
            .col(whole_or_null("finished_at"))
            .col(whole_or_null("discarded_at"))
            .col(live())
            .col(id_or_null("removal_of"))
            .foreign_key(&mut references("jobs", "user_id", "users"))
            .foreign_key(&mut references("jobs", "host_id", "hosts"))
            .foreign_key(&mut references("jobs", "image_id", "images"))
            .foreign_key(&mut references("jobs", "engine_image_id", "engine_images"))
            .check(Expr::col("held").gte(0))
            .check(Expr::col("attempt").gte(0))
            .check(Expr::col("max_attempts").gte(Expr::col("attempt")))
            .to_owned();
        create(
            manager,
            &jobs,
            vec![
                unique("jobs", &["removal_of"]),
                unique("jobs", &["user_id", "ordinal"]),
                // Dispatch: the waiting jobs of a host in fair order.
                index("jobs", &["host_id", "live", "state", "turn"]),
                // Order of one user's jobs on one (host, reference), and its next turn.
                index("jobs", &["user_id", "live", "host_id", "reference"]),
                // Take-over of jobs whose worker vanished, and of jobs whose next try is due.
                index("jobs", &["live", "state", "lease_until"]),
                // Jobs that mean an engine's image.
                index("jobs", &["engine_image_id", "live"]),
                // Lists, newest first.
                index("jobs", &["user_id", "id"]),
                index("jobs", &["state", "id"]),
                index("jobs", &["host_id", "id"]),
            ],
        )
        .await?;

        let attempts = table(manager, "job_attempts")
            .col(id("job_id"))
            .col(small("number"))
            .col(text("worker", 255))
            .col(whole("started_at"))
            .col(whole_or_null("finished_at"))
            .col(text_or_null("error_code", 32))
            .col(ColumnDef::new("error_message").text().null())
            .col(flag_or_null("error_retryable"))
            .foreign_key(&mut references("job_attempts", "job_id", "jobs"))
            .to_owned();
        create(
            manager,
            &attempts,
            vec![unique("job_attempts", &["job_id", "number"])],
        )
        .await?;

        let keys = table(manager, "idempotency_keys")
            .col(id("user_id"))
            .col(text("mutation", 32))
            .col(text("key", 255))
            .col(text("input_hash", 64))
            .col(id_or_null("job_id"))
            .col(whole("created_at"))
            .foreign_key(&mut references("idempotency_keys", "user_id", "users"))
            .foreign_key(&mut references("idempotency_keys", "job_id", "jobs"))
            .to_owned();
        create(
            manager,
            &keys,
            vec![
                unique("idempotency_keys", &["user_id", "mutation", "key"]),
                index("idempotency_keys", &["created_at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["idempotency_keys", "job_attempts", "jobs"]).await
    }
}

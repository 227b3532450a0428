//! Payments and the ledger.

use sea_orm_migration::prelude::*;

use crate::columns::{
    create, drop, id, id_or_null, index, live, references, table, text, text_or_null, unique, whole,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let payments = table(manager, "payments")
            .col(id("user_id"))
            .col(id("engine_image_id"))
            .col(whole("amount"))
            .col(live())
            .foreign_key(&mut references("payments", "user_id", "users"))
            .foreign_key(&mut references(
                "payments",
                "engine_image_id",
                "engine_images",
            ))
            .check(Expr::col("amount").gte(0))
            .to_owned();
        create(
            manager,
            &payments,
            vec![
                unique("payments", &["user_id", "engine_image_id", "live"]),
                index("payments", &["engine_image_id", "live"]),
            ],
        )
        .await?;

        let entries = table(manager, "ledger_entries")
            .col(id("user_id"))
            .col(whole("number"))
            .col(text("kind", 32))
            .col(whole("amount"))
            .col(whole("total_after"))
            .col(id_or_null("job_id"))
            .col(id_or_null("payment_id"))
            .col(text_or_null("reference", 512))
            .col(text_or_null("reason", 255))
            .col(whole("created_at"))
            .foreign_key(&mut references("ledger_entries", "user_id", "users"))
            .foreign_key(&mut references("ledger_entries", "job_id", "jobs"))
            .foreign_key(&mut references("ledger_entries", "payment_id", "payments"))
            .check(Expr::col("total_after").gte(0))
            .to_owned();
        create(
            manager,
            &entries,
            vec![
                unique("ledger_entries", &["user_id", "number"]),
                // One CHARGE makes a payment, one REFUND ends it.
                unique("ledger_entries", &["payment_id", "kind"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["ledger_entries", "payments"]).await
    }
}

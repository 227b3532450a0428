//! The audit log: actions of administrators.

use sea_orm_migration::prelude::*;

use crate::columns::{create, drop, id_or_null, index, json, table, text, whole};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // No foreign keys: an entry outlives its object.
        let audit_entries = table(manager, "audit_entries")
            .col(id_or_null("actor_id"))
            .col(text("actor", 64))
            .col(text("action", 64))
            .col(id_or_null("subject_id"))
            .col(text("subject", 512))
            .col(json("details"))
            .col(whole("created_at"))
            .to_owned();
        create(
            manager,
            &audit_entries,
            vec![
                index("audit_entries", &["actor_id", "id"]),
                index("audit_entries", &["subject_id", "id"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["audit_entries"]).await
    }
}

//! Logins at registries, and the retries that count for a user's limits.

use sea_orm_migration::prelude::*;

use crate::columns::{create, drop, id, index, references, table, text, unique, whole};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let registry_credentials = table(manager, "registry_credentials")
            .col(id("user_id"))
            .col(text("registry", 255))
            .col(text("username", 255))
            .col(text("key_id", 16))
            .col(ColumnDef::new("sealed").text().not_null())
            .col(whole("created_at"))
            .foreign_key(&mut references("registry_credentials", "user_id", "users"))
            .to_owned();
        create(
            manager,
            &registry_credentials,
            vec![
                // One login of a user at a registry; also lists them.
                unique("registry_credentials", &["user_id", "registry"]),
                index("registry_credentials", &["key_id"]),
            ],
        )
        .await?;

        let job_retries = table(manager, "job_retries")
            .col(id("user_id"))
            .col(id("job_id"))
            .col(whole("created_at"))
            .foreign_key(&mut references("job_retries", "user_id", "users"))
            .foreign_key(&mut references("job_retries", "job_id", "jobs"))
            .to_owned();
        create(
            manager,
            &job_retries,
            vec![
                index("job_retries", &["user_id", "created_at"]),
                index("job_retries", &["created_at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["job_retries", "registry_credentials"]).await
    }
}

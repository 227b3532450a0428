//! Tokens of people who signed in, delays after wrong passwords, and idempotency keys of what is not a job.

use sea_orm_migration::prelude::*;

use crate::columns::{
    add_column, create, create_index, drop, drop_column, id_or_null, index, small, table, text,
    unique, whole,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sign_in = ColumnDef::new("sign_in")
            .boolean()
            .not_null()
            .default(false)
            .to_owned();
        add_column(manager, "api_tokens", sign_in).await?;
        create_index(manager, index("api_tokens", &["expires_at"])).await?;
        add_column(manager, "idempotency_keys", id_or_null("result_id")).await?;
        // Lists of users by role and status, and who the administrators are.
        create_index(manager, index("users", &["role", "status", "name_key"])).await?;

        let delays = table(manager, "sign_in_delays")
            .col(text("subject", 80))
            .col(small("failures"))
            .col(whole("until"))
            .col(whole("last_at"))
            .to_owned();
        create(
            manager,
            &delays,
            vec![
                unique("sign_in_delays", &["subject"]),
                index("sign_in_delays", &["last_at"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["sign_in_delays"]).await?;
        for (table, name) in [
            ("users", "ix_users_role_status_name_key"),
            ("api_tokens", "ix_api_tokens_expires_at"),
        ] {
            manager
                .drop_index(Index::drop().name(name).table(table).to_owned())
                .await?;
        }
        for (table, column) in [("idempotency_keys", "result_id"), ("api_tokens", "sign_in")] {
            drop_column(manager, table, column).await?;
        }
        Ok(())
    }
}

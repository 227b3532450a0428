//! Users and their API tokens.

use sea_orm_migration::prelude::*;

use crate::columns::{
    create, drop, id, index, references, table, text, text_or_null, unique, whole, whole_or_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let users = table(manager, "users")
            .col(text("name", 64))
            .col(text("name_key", 64))
            .col(text("role", 32))
            .col(text("status", 32))
            .col(text_or_null("password_hash", 255))
            .col(whole("total"))
            .col(whole("held"))
            .col(whole("ledger_entries"))
            .col(whole("accepted_jobs"))
            .col(whole("created_at"))
            .check(Expr::col("held").gte(0))
            .check(Expr::col("total").gte(Expr::col("held")))
            .to_owned();
        create(manager, &users, vec![unique("users", &["name_key"])]).await?;

        let api_tokens = table(manager, "api_tokens")
            .col(id("user_id"))
            .col(text("name", 255))
            .col(text("secret_hash", 64))
            .col(whole("created_at"))
            .col(whole_or_null("last_used_at"))
            .col(whole_or_null("expires_at"))
            .foreign_key(&mut references("api_tokens", "user_id", "users"))
            .to_owned();
        create(
            manager,
            &api_tokens,
            vec![
                unique("api_tokens", &["secret_hash"]),
                index("api_tokens", &["user_id"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["api_tokens", "users"]).await
    }
}

//! Which registry and repository the layers and configs on a host's engine came from.

use sea_orm_migration::prelude::*;

use crate::columns::{
    create, drop, flag, id, index, references, table, text, text_or_null, unique, whole,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let origins = table(manager, "blob_origins")
            .col(id("host_id"))
            .col(text("digest", 160))
            .col(text("registry", 255))
            .col(text("repository", 255))
            .col(flag("delivered"))
            .col(flag("anonymous"))
            .col(text_or_null("diff_id", 160))
            .col(whole("created_at"))
            .foreign_key(&mut references("blob_origins", "host_id", "hosts"))
            .to_owned();
        let indexes = vec![
            unique(
                "blob_origins",
                &["digest", "host_id", "registry", "repository"],
            ),
            index("blob_origins", &["delivered", "created_at"]),
        ];
        create(manager, &origins, indexes).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["blob_origins"]).await
    }
}

//! Hosts, what their engines have, and who holds it.

use sea_orm_migration::prelude::*;

use crate::columns::{
    create, drop, flag, id, id_or_null, index, json, live, references, small, table, text,
    text_or_null, unique, whole, whole_or_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let hosts = table(manager, "hosts")
            .col(text("name", 255))
            .col(flag("schedulable"))
            .col(text_or_null("engine_version", 64))
            .col(text_or_null("platform", 64))
            .col(json("labels"))
            .col(whole_or_null("storage_used"))
            .col(whole_or_null("storage_total"))
            .col(small("concurrency"))
            .col(whole("created_at"))
            .col(whole_or_null("last_seen_at"))
            .to_owned();
        create(manager, &hosts, vec![unique("hosts", &["name"])]).await?;

        let engine_images = table(manager, "engine_images")
            .col(id("host_id"))
            .col(text("image_id", 160))
            .col(text("status", 32))
            .col(flag("brought"))
            .col(whole("size"))
            .col(text("platform", 64))
            .col(json("exposed_ports"))
            .col(whole("version"))
            .col(id_or_null("lock_token"))
            .col(whole_or_null("lock_until"))
            .col(whole("created_at"))
            .foreign_key(&mut references("engine_images", "host_id", "hosts"))
            .check(Expr::col("size").gte(0))
            .to_owned();
        create(
            manager,
            &engine_images,
            vec![
                unique("engine_images", &["host_id", "image_id"]),
                index("engine_images", &["host_id", "status"]),
                index("engine_images", &["image_id"]),
            ],
        )
        .await?;

        let engine_tags = table(manager, "engine_tags")
            .col(id("host_id"))
            .col(text("reference", 512))
            .col(id("engine_image_id"))
            .col(flag("brought"))
            .foreign_key(&mut references("engine_tags", "host_id", "hosts"))
            .foreign_key(&mut references(
                "engine_tags",
                "engine_image_id",
                "engine_images",
            ))
            .to_owned();
        create(
            manager,
            &engine_tags,
            vec![
                unique("engine_tags", &["host_id", "reference", "engine_image_id"]),
                index("engine_tags", &["engine_image_id"]),
            ],
        )
        .await?;

        let images = table(manager, "images")
            .col(id_or_null("user_id"))
            .col(id("holder"))
            .col(id("host_id"))
            .col(id("engine_image_id"))
            .col(text("reference", 512))
            .col(text_or_null("digest", 160))
            .col(text("visibility", 32))
            .col(text("state", 32))
            .col(whole("charge"))
            .col(whole("pulled_at"))
            .col(whole_or_null("released_at"))
            .col(live())
            .foreign_key(&mut references("images", "user_id", "users"))
            .foreign_key(&mut references("images", "host_id", "hosts"))
            .foreign_key(&mut references(
                "images",
                "engine_image_id",
                "engine_images",
            ))
            .check(Expr::col("charge").gte(0))
            .to_owned();
        create(
            manager,
            &images,
            vec![
                unique("images", &["holder", "host_id", "reference", "live"]),
                index("images", &["holder", "state", "pulled_at", "id"]),
                index("images", &["holder", "state", "reference", "id"]),
                index("images", &["engine_image_id", "live"]),
                index("images", &["host_id", "live", "reference"]),
            ],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(
            manager,
            &["images", "engine_tags", "engine_images", "hosts"],
        )
        .await
    }
}

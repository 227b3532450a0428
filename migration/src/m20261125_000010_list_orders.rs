//! Lists of images by size: the size of the engine's image is kept with each holding of it, so that one index gives the
//! order. Reading a page is then as fast among a million holdings as among a thousand.

use sea_orm_migration::prelude::*;

use crate::columns::{add_column, create_index, drop_column, index, whole};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut size = whole("size");
        size.default(0);
        add_column(manager, "images", size).await?;
        manager
            .get_connection()
            .execute_unprepared(
                "UPDATE images SET size = (SELECT engine_images.size FROM engine_images \
                 WHERE engine_images.id = images.engine_image_id)",
            )
            .await?;
        create_index(manager, index("images", &["holder", "state", "size", "id"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let by_size = Index::drop()
            .name("ix_images_holder_state_size_id")
            .table("images")
            .to_owned();
        manager.drop_index(by_size).await?;
        drop_column(manager, "images", "size").await
    }
}

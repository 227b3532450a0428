//! Keeps the image that a tag named before a pull with the tag, until the pull is settled or the tag is set back. It was kept
//! with the job before, which does not know other pulls of the same tag.

use sea_orm_migration::prelude::*;

use crate::columns::{add_column, drop_column, text_or_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Of pulls that are under way: the first that set the tag knows what it meant.
const UNDER_WAY: &str = "UPDATE engine_tags SET displaced = (\
    SELECT jobs.tag_before FROM jobs \
    JOIN engine_images ON engine_images.id = jobs.engine_image_id \
    WHERE jobs.engine_image_id = engine_tags.engine_image_id AND jobs.reference = engine_tags.reference \
    AND jobs.live = 1 AND jobs.tag_before <> engine_images.image_id \
    ORDER BY jobs.id LIMIT 1)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_column(manager, "engine_tags", text_or_null("displaced", 160)).await?;
        if manager.has_column("jobs", "tag_before").await? {
            manager
                .get_connection()
                .execute_unprepared(UNDER_WAY)
                .await?;
            drop_column(manager, "jobs", "tag_before").await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_column(manager, "jobs", text_or_null("tag_before", 160)).await?;
        drop_column(manager, "engine_tags", "displaced").await
    }
}

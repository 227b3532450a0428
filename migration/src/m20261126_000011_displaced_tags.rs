//! What a tag meant before a pull set it is kept with the tag, until the pull is settled or the tag is back: it was kept
//! with the job, which knows nothing of other pulls of the same tag.

use sea_orm_migration::prelude::*;

use crate::columns::text_or_null;

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
        if !manager.has_column("engine_tags", "displaced").await? {
            let add = Table::alter()
                .table("engine_tags")
                .add_column(text_or_null("displaced", 160))
                .to_owned();
            manager.alter_table(add).await?;
        }
        if manager.has_column("jobs", "tag_before").await? {
            manager
                .get_connection()
                .execute_unprepared(UNDER_WAY)
                .await?;
            let drop = Table::alter()
                .table("jobs")
                .drop_column("tag_before")
                .to_owned();
            manager.alter_table(drop).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_column("jobs", "tag_before").await? {
            let add = Table::alter()
                .table("jobs")
                .add_column(text_or_null("tag_before", 160))
                .to_owned();
            manager.alter_table(add).await?;
        }
        let drop = Table::alter()
            .table("engine_tags")
            .drop_column("displaced")
            .to_owned();
        manager.alter_table(drop).await
    }
}

//! Which process of the fleet keeps house, which sweeps it has still to do, and where each process tries whether the
//! database takes a write.

use sea_orm_migration::prelude::*;

use crate::columns::{
    create, drop, id, id_or_null, index, references, table, text, text_or_null, unique, whole,
    whole_or_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let leases = table(manager, "leases")
            .col(text("name", 64))
            .col(id("holder"))
            .col(whole("expires_at"))
            .to_owned();
        create(manager, &leases, vec![unique("leases", &["name"])]).await?;

        // Its id is the process's.
        let write_probes = table(manager, "write_probes")
            .col(whole("written_at"))
            .to_owned();
        create(manager, &write_probes, vec![]).await?;

        let host_sweeps = table(manager, "host_sweeps")
            .col(id("host_id"))
            .col(id_or_null("last_image_id"))
            .col(whole_or_null("reserved_until"))
            .col(text_or_null("traceparent", 64))
            .foreign_key(&mut references("host_sweeps", "host_id", "hosts"))
            .to_owned();
        create(
            manager,
            &host_sweeps,
            vec![index("host_sweeps", &["host_id"])],
        )
        .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["host_sweeps", "write_probes", "leases"]).await
    }
}

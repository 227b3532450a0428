//! Database migrations, up and down, for SQLite, PostgreSQL and MySQL/MariaDB.
//!
//! Constraints carry the invariants: unique keys for one live holding, one live payment, one charge and one refund of a
//! payment, one use of an idempotency key; checks for amounts that cannot be negative. A nullable `live` column stands
//! in for partial unique indexes, which MariaDB lacks.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod columns;
mod m20261123_000001_accounts;
mod m20261123_000002_images;
mod m20261123_000003_jobs;
mod m20261123_000004_ledger;
mod m20261124_000005_audit;
mod m20261124_000006_sign_in;
mod m20261124_000007_fleet;
mod m20261124_000008_reference_order;
mod m20261124_000009_administration;
mod m20261125_000010_list_orders;
mod m20261126_000011_displaced_tags;
mod m20261126_000012_append_only;
mod m20261130_000014_blob_origins;
mod m20261130_000016_housekeeping;
mod m20261130_000018_waits;
mod m20261201_000020_push;
mod m20261201_000021_order_indexes;

/// Every migration, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_accounts::Migration),
            Box::new(m20261123_000002_images::Migration),
            Box::new(m20261123_000003_jobs::Migration),
            Box::new(m20261123_000004_ledger::Migration),
            Box::new(m20261124_000005_audit::Migration),
            Box::new(m20261124_000006_sign_in::Migration),
            Box::new(m20261124_000007_fleet::Migration),
            Box::new(m20261124_000008_reference_order::Migration),
            Box::new(m20261124_000009_administration::Migration),
            Box::new(m20261125_000010_list_orders::Migration),
            Box::new(m20261126_000011_displaced_tags::Migration),
            Box::new(m20261126_000012_append_only::Migration),
            Box::new(m20261130_000014_blob_origins::Migration),
            Box::new(m20261130_000016_housekeeping::Migration),
            Box::new(m20261130_000018_waits::Migration),
            Box::new(m20261201_000020_push::Migration),
            Box::new(m20261201_000021_order_indexes::Migration),
        ]
    }
}

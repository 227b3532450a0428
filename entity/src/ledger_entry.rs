//! Table `ledger_entries`.

use sea_orm::entity::prelude::*;

use crate::{Credits, LedgerEntryKind, Timestamp};

/// A movement of credits. Append-only.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "ledger_entries")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The user.
    pub user_id: Uuid,
    /// The number: 1 for the user's first entry, then without a gap.
    pub number: i64,
    /// GRANT, CHARGE, REFUND or ADJUSTMENT.
    pub kind: LedgerEntryKind,
    /// The amount: negative for a charge.
    pub amount: Credits,
    /// The user's total after the entry.
    pub total_after: Credits,
    /// The job that made the entry.
    pub job_id: Option<Uuid>,
    /// The payment that it made or refunded.
    pub payment_id: Option<Uuid>,
    /// The reference of the image.
    pub reference: Option<String>,
    /// The reason in words.
    pub reason: Option<String>,
    /// The time of the entry.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

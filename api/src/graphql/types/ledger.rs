//! A user's credits and their ledger.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use uuid::Uuid;
use wharfinger_entity::{LedgerEntryKind, ledger_entry};
use wharfinger_jobs::ledger;

use super::Job;
use super::rows::Row;
use crate::graphql::context::load;
use crate::graphql::ids::Kind;
use crate::graphql::loaders::JobId;
use crate::graphql::scalars::{Credits, DateTime};

/// A user's credits at one instant.
#[derive(SimpleObject, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Balance {
    /// What the user can still spend: total less held.
    available: Credits,
    /// Reserved by jobs that have not ended.
    held: Credits,
    /// The sum of the ledger; never negative.
    total: Credits,
}

impl From<ledger::Balance> for Balance {
    fn from(balance: ledger::Balance) -> Self {
        Self {
            available: balance.available().into(),
            held: balance.held.into(),
            total: balance.total.into(),
        }
    }
}

/// One movement of credits. Append-only.
#[derive(SimpleObject, Clone)]
#[graphql(complex)]
pub(crate) struct LedgerEntry {
    /// Its id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// The kind of movement.
    kind: LedgerEntryKind,
    /// Signed: negative for a charge.
    amount: Credits,
    /// The user's total after this entry.
    total_after: Credits,
    #[graphql(skip)]
    job_id: Option<Uuid>,
    /// The image reference that it was for, kept when the image is gone. Null for a movement without an image.
    reference: Option<String>,
    /// The reason that the administrator gave; null where the kind says enough.
    reason: Option<String>,
    /// When it happened.
    created_at: DateTime,
}

impl From<ledger_entry::Model> for LedgerEntry {
    fn from(entry: ledger_entry::Model) -> Self {
        Self {
            id: Kind::LedgerEntry.id(entry.id),
            kind: entry.kind,
            amount: entry.amount.into(),
            total_after: entry.total_after.into(),
            job_id: entry.job_id,
            reference: entry.reference,
            reason: entry.reason,
            created_at: entry.created_at.into(),
        }
    }
}

impl Row for LedgerEntry {
    const WAITING: &'static [&'static str] = &["job"];
}

#[ComplexObject]
impl LedgerEntry {
    /// The job behind the movement; null for a grant, and for a refund that no job caused.
    async fn job(&self, ctx: &Context<'_>) -> Result<Option<Job>> {
        load(ctx, self.job_id.map(JobId)).await
    }
}

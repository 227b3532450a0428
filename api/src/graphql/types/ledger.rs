//! A user's ledger.

use async_graphql::{Context, ID, Object, Result};
use wharfinger_entity::ledger_entry;

use super::Job;
use super::rows::Row;
use crate::graphql::context::{internal, loaders};
use crate::graphql::enums::LedgerEntryKind;
use crate::graphql::ids::Kind;
use crate::graphql::loaders::JobId;
use crate::graphql::scalars::{Credits, DateTime};

/// One movement of credits. Append-only.
#[derive(Clone)]
pub(crate) struct LedgerEntry(pub(crate) ledger_entry::Model);

impl From<ledger_entry::Model> for LedgerEntry {
    fn from(entry: ledger_entry::Model) -> Self {
        Self(entry)
    }
}

impl Row for LedgerEntry {
    const WAITING: &'static [&'static str] = &["job"];
}

/// One movement of credits. Append-only.
#[Object]
impl LedgerEntry {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::LedgerEntry.id(self.0.id)
    }

    /// The kind of movement.
    async fn kind(&self) -> LedgerEntryKind {
        self.0.kind.into()
    }

    /// Signed: negative for a charge.
    async fn amount(&self) -> Credits {
        self.0.amount.into()
    }

    /// The user's total after this entry.
    async fn total_after(&self) -> Credits {
        self.0.total_after.into()
    }

    /// The job behind the movement; null for a grant, and for a refund that no job caused.
    async fn job(&self, ctx: &Context<'_>) -> Result<Option<Job>> {
        let Some(id) = self.0.job_id else {
            return Ok(None);
        };
        let job = loaders(ctx)?
            .load_one(JobId(id))
            .await
            .map_err(|error| internal(&*error))?;
        Ok(job.map(Job))
    }

    /// The image reference that it was for, kept when the image is gone. Null for a movement without an image.
    async fn reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    /// The reason that the administrator gave; null where the kind says enough.
    async fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// When it happened.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

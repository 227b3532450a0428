//! The audit log.

use async_graphql::{ID, InputObject, SimpleObject};
use wharfinger_entity::{AuditAction, audit_entry};
use wharfinger_jobs::queries::audit;

use super::rows::Row;
use crate::graphql::ids::{self, Kind};
use crate::graphql::scalars::DateTime;

/// An administrative act. Append-only. It outlives its subject, which it therefore names and does not link.
#[derive(SimpleObject, Clone)]
pub(crate) struct AuditEntry {
    /// Its id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// The name that the actor had then: a user, or the part of Wharfinger that acts by itself (command line, schedule).
    actor: String,
    /// The kind of act.
    action: AuditAction,
    /// The name, reference or id that the subject had then.
    subject: String,
    /// The input, as a JSON object, without secrets.
    details: String,
    /// When it happened.
    created_at: DateTime,
}

impl From<audit_entry::Model> for AuditEntry {
    fn from(entry: audit_entry::Model) -> Self {
        Self {
            id: Kind::AuditEntry.id(entry.id),
            actor: entry.actor,
            action: entry.action,
            subject: entry.subject,
            details: entry.details.to_string(),
            created_at: entry.created_at.into(),
        }
    }
}

impl Row for AuditEntry {}

/// A filter of the audit log.
#[derive(InputObject, Clone, Debug, Default)]
pub(crate) struct AuditFilter {
    /// Only acts of this user.
    actor_id: Option<ID>,
    /// Only acts on this user, image, host or job.
    subject_id: Option<ID>,
    /// Only acts of these kinds.
    actions: Option<Vec<AuditAction>>,
}

impl From<AuditFilter> for audit::AuditFilter {
    fn from(filter: AuditFilter) -> Self {
        Self {
            actor_id: Kind::User.filtered(filter.actor_id),
            subject_id: filter
                .subject_id
                .map(|id| ids::parse(&id).map(|(_, id)| id).unwrap_or_default()),
            actions: filter.actions,
        }
    }
}

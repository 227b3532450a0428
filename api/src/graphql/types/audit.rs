//! The audit log.

use async_graphql::{ID, InputObject, Object};
use wharfinger_entity::audit_entry;
use wharfinger_jobs::queries::audit;

use super::rows::Row;
use crate::graphql::enums::AuditAction;
use crate::graphql::ids::{self, Kind};
use crate::graphql::scalars::DateTime;

/// An administrative act. Append-only. It outlives its subject, which it therefore names and does not link.
#[derive(Clone)]
pub(crate) struct AuditEntry(pub(crate) audit_entry::Model);

impl From<audit_entry::Model> for AuditEntry {
    fn from(entry: audit_entry::Model) -> Self {
        Self(entry)
    }
}

impl Row for AuditEntry {
    const WAITING: &'static [&'static str] = &[];
}

/// An administrative act. Append-only. It outlives its subject, which it therefore names and does not link.
#[Object]
impl AuditEntry {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::AuditEntry.id(self.0.id)
    }

    /// The name that the actor had then: a user, or the part of Wharfinger that acts by itself (command line, schedule).
    async fn actor(&self) -> &str {
        &self.0.actor
    }

    /// The kind of act.
    async fn action(&self) -> AuditAction {
        self.0.action.into()
    }

    /// The name, reference or id that the subject had then.
    async fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The input, as a JSON object, without secrets.
    async fn details(&self) -> String {
        self.0.details.to_string()
    }

    /// When it happened.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

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
            // The id of another kind of thing matches nothing.
            actor_id: filter
                .actor_id
                .map(|id| Kind::User.parse(&id).unwrap_or_default()),
            subject_id: filter
                .subject_id
                .map(|id| ids::parse(&id).map(|(_, id)| id).unwrap_or_default()),
            actions: filter
                .actions
                .map(|actions| actions.into_iter().map(Into::into).collect()),
        }
    }
}

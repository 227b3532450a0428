//! The audit log of administrators' acts. It is append-only: no code changes or deletes an entry.

use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait};
use serde_json::{Value, json};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, Timestamp, audit_entry, job, user};

/// Longest subject that is kept, in characters.
const MAX_SUBJECT: usize = 512;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A user, by id and by the name that they have now.
    User(Uuid, String),
    /// The program itself: its command line, its settings, its schedule.
    Program(&'static str),
}

impl Actor {
    /// The user's id, if it is one.
    pub fn user_id(&self) -> Option<Uuid> {
        match self {
            Self::User(id, _) => Some(*id),
            Self::Program(_) => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::User(_, name) => name,
            Self::Program(name) => name,
        }
    }

    /// Records an act in the log, in the transaction that does it: what was undone is not in the log, and what is done is.
    /// `details` must hold no secrets.
    pub(crate) async fn record(
        &self,
        tx: &impl ConnectionTrait,
        action: AuditAction,
        subject: Subject,
        details: Value,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        audit_entry::Entity::insert(audit_entry::ActiveModel {
            id: Set(Uuid::now_v7()),
            actor_id: Set(self.user_id()),
            actor: Set(self.name().to_owned()),
            action: Set(action),
            subject_id: Set(Some(subject.id)),
            subject: Set(subject.name.chars().take(MAX_SUBJECT).collect()),
            details: Set(details),
            created_at: Set(now),
        })
        .exec_without_returning(tx)
        .await?;
        tracing::info!(
            actor = self.name(),
            ?action,
            subject = subject.name,
            "an administrative act"
        );
        Ok(())
    }

    /// Records an act on a job, with whose it is and what it is about.
    pub(crate) async fn record_on_job(
        &self,
        tx: &impl ConnectionTrait,
        action: AuditAction,
        job: &job::Model,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        let owner = user::Entity::find_by_id(job.user_id).one(tx).await?;
        let details = json!({
            "user": owner.map(|owner| owner.name),
            "kind": job.kind,
            "reference": job.reference,
            "state": job.state,
            "errorCode": job.error_code,
        });
        let subject = Subject::one(job.id, job.reference.clone());
        self.record(tx, action, subject, details, now).await
    }
}

impl From<&user::Model> for Actor {
    fn from(user: &user::Model) -> Self {
        Self::User(user.id, user.name.clone())
    }
}

/// The object of an act.
pub(crate) struct Subject {
    id: Uuid,
    name: String,
}

impl Subject {
    /// A user, image, host or job, with its name or reference.
    pub(crate) fn one(id: Uuid, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { id, name }
    }
}

//! Table `audit_entries`.

use sea_orm::entity::prelude::*;

use crate::{AuditAction, Timestamp};

/// An administrative act. Append-only, and without references: it outlives what it is about.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_entries")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Who did it; none for the program itself, by its settings or command line.
    pub actor_id: Option<Uuid>,
    /// Their name at the time.
    pub actor: String,
    /// What they did.
    pub action: AuditAction,
    /// The user, image, host or job that it was done to, if it was done to one.
    pub subject_id: Option<Uuid>,
    /// Its name, reference or id at the time.
    pub subject: String,
    /// What was asked for, without secrets.
    pub details: Json,
    /// When.
    pub created_at: Timestamp,
}

/// What it refers to: nothing that could be deleted.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

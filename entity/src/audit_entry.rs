//! Table `audit_entries`.

use sea_orm::entity::prelude::*;

use crate::{AuditAction, Timestamp};

/// An act of an administrator. Append-only, and without foreign keys: it outlives its object.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "audit_entries")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The administrator; none for the program itself, by its settings or command line.
    pub actor_id: Option<Uuid>,
    /// The administrator's name at the time.
    pub actor: String,
    /// The act.
    pub action: AuditAction,
    /// The user, image, host or job that the act changed, if it was one.
    pub subject_id: Option<Uuid>,
    /// The object's name, reference or id at the time.
    pub subject: String,
    /// The input, without secrets.
    pub details: Json,
    /// The time of the act.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

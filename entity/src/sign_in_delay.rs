//! Table `sign_in_delays`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// Passwords that did not match, for one user name or from one address: each makes the next one wait longer.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sign_in_delays")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The name, hashed, or the address: `name:…`, `address:…`. Unique.
    pub subject: String,
    /// Tries that did not succeed, or are under way.
    pub failures: i32,
    /// No try is looked at before.
    pub until: Timestamp,
    /// When the last try began.
    pub last_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

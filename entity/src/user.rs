//! Table `users`.

use sea_orm::entity::prelude::*;

use crate::{Credits, Role, Timestamp, UserStatus};

/// A user, with the running totals that the ledger and the live holds add up to.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The name as it was given.
    pub name: String,
    /// The name in lower case, unique: names differ by more than case.
    pub name_key: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the user may act.
    pub status: UserStatus,
    /// PHC string of the password, if one is set.
    pub password_hash: Option<String>,
    /// Sum of the ledger.
    pub total: Credits,
    /// Sum of `held` over the live jobs.
    pub held: Credits,
    /// How many ledger entries there are: the number of the newest.
    pub ledger_entries: i64,
    /// How many acceptances there were: the ordinal of the newest.
    pub accepted_jobs: i64,
    /// When the user was made.
    pub created_at: Timestamp,
}

/// What it refers to.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

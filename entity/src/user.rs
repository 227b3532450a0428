//! Table `users`.

use sea_orm::entity::prelude::*;

use crate::{Credits, Role, Timestamp, UserStatus};

/// A user, with the running totals that the ledger and the live holds add up to.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The name as given.
    pub name: String,
    /// The name in lower case: unique.
    pub name_key: String,
    /// The role.
    pub role: Role,
    /// Active or banned.
    pub status: UserStatus,
    /// The PHC string of the password, if there is one.
    pub password_hash: Option<String>,
    /// The sum of the ledger.
    pub total: Credits,
    /// The sum of `held` of the user's live jobs.
    pub held: Credits,
    /// The number of the newest ledger entry.
    pub ledger_entries: i64,
    /// The ordinal of the newest acceptance.
    pub accepted_jobs: i64,
    /// The time of creation.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

//! Table `sign_in_delays`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// Wrong passwords for one user name or from one address. Each makes the next try wait longer.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "sign_in_delays")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The name, hashed, or the address: `name:…`, `address:…`. Unique.
    pub subject: String,
    /// The number of tries that failed or are under way.
    pub failures: i32,
    /// The time before which no try is accepted.
    pub until: Timestamp,
    /// The time of the last try.
    pub last_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

//! Table `idempotency_keys`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A key of a mutation that happened. The same call again returns the first result.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The user.
    pub user_id: Uuid,
    /// The mutation.
    pub mutation: String,
    /// The key.
    pub key: String,
    /// The SHA-256 of the input, in hexadecimal.
    pub input_hash: String,
    /// The job that it made, if it made one.
    pub job_id: Option<Uuid>,
    /// The other row that it made. Its table depends on the mutation.
    pub result_id: Option<Uuid>,
    /// The time of the first call.
    pub created_at: Timestamp,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

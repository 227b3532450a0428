//! Table `idempotency_keys`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A key of a mutation that happened. The same call again returns the first result.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
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

/// The foreign keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `user_id`.
    #[sea_orm(
        belongs_to = "super::user::Entity",
        from = "Column::UserId",
        to = "super::user::Column::Id"
    )]
    User,
    /// By `job_id`.
    #[sea_orm(
        belongs_to = "super::job::Entity",
        from = "Column::JobId",
        to = "super::job::Column::Id"
    )]
    Job,
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl Related<super::job::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Job.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

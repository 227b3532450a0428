//! Table `idempotency_keys`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A key under which a mutation happened: the same call again finds its first result.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// Id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose key.
    pub user_id: Uuid,
    /// Of which mutation.
    pub mutation: String,
    /// The key.
    pub key: String,
    /// SHA-256 of the input, in hexadecimal.
    pub input_hash: String,
    /// The job that came of it.
    pub job_id: Option<Uuid>,
    /// What else came of it: which table it is in, the mutation says.
    pub result_id: Option<Uuid>,
    /// When.
    pub created_at: Timestamp,
}

/// What it refers to.
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

//! Table `api_tokens`.

use sea_orm::entity::prelude::*;

use crate::Timestamp;

/// A bearer token. Only a hash of its secret is stored.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "api_tokens")]
pub struct Model {
    /// The id: a UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The user who calls with it.
    pub user_id: Uuid,
    /// The user's name for it.
    pub name: String,
    /// SHA-256 of the secret, in hexadecimal: the secret has 256 random bits, so a slow hash would add nothing.
    pub secret_hash: String,
    /// The time of its creation.
    pub created_at: Timestamp,
    /// The time of its last use, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// The time of its end; none if it does not expire.
    pub expires_at: Option<Timestamp>,
    /// Whether a sign-in made it, and not its user.
    pub sign_in: bool,
}

/// The joins that queries make.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// By `user_id`.
    #[sea_orm(
        belongs_to = "super::user::Entity",
        from = "Column::UserId",
        to = "super::user::Column::Id"
    )]
    User,
}

impl Related<super::user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

//! The reads of the API. Every function takes a [`Viewer`] and returns only rows that this viewer may see. Each file has that
//! rule once, for single rows and lists. All users see hosts. `board` and `queues` are for administrators; only there the
//! caller checks. Every list is paged by keys, so that pages stay right while rows come and go.

pub mod audit;
pub mod board;
pub mod hosts;
pub mod images;
pub mod jobs;
pub mod ledger;
pub mod page;
pub mod progress_watch;
pub mod queues;
pub mod registry_credentials;
pub mod tokens;
pub mod users;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::{Role, user};

use crate::infra::db::Db;

/// The user who reads, and whether as an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The user.
    pub user_id: Uuid,
    /// Whether they may see everything.
    pub admin: bool,
}

impl Viewer {
    /// A user who sees only their own rows, even as an administrator.
    pub fn user(user_id: Uuid) -> Self {
        Self {
            user_id,
            admin: false,
        }
    }

    /// The limit on owners that this viewer is under: none for an administrator.
    pub fn owner(self) -> Option<Uuid> {
        (!self.admin).then_some(self.user_id)
    }

    /// The rows that this viewer may see: those whose owner they are by this column, or, for an administrator, any.
    fn rows<E: EntityTrait>(self, owner: E::Column) -> Select<E> {
        match self.owner() {
            None => E::find(),
            Some(id) => E::find().filter(owner.eq(id)),
        }
    }
}

/// Those of some rows that have one of these ids.
async fn with_ids<E: EntityTrait>(
    db: &Db,
    rows: Select<E>,
    id: E::Column,
    ids: &[Uuid],
) -> Result<Vec<E::Model>, DbErr> {
    let found = rows.filter(id.is_in(ids.iter().copied()));
    found.all(db.read()).await
}

impl From<&user::Model> for Viewer {
    fn from(user: &user::Model) -> Self {
        Self {
            user_id: user.id,
            admin: user.role == Role::Admin,
        }
    }
}

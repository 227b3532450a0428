//! Users as they see themselves, and as administrators see them.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::{Role, UserStatus, user};

use super::Viewer;
use super::images::contains;
use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use crate::db::Db;

/// Which users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    /// Only those who may do this.
    pub role: Option<Role>,
    /// Only these.
    pub status: Option<UserStatus>,
    /// Part of the name, case-insensitive.
    pub search: Option<String>,
}

impl UserFilter {
    fn select(&self) -> Select<user::Entity> {
        let mut query = user::Entity::find();
        if let Some(role) = self.role {
            query = query.filter(user::Column::Role.eq(role));
        }
        if let Some(status) = self.status {
            query = query.filter(user::Column::Status.eq(status));
        }
        if let Some(search) = self.search.as_deref().filter(|search| !search.is_empty()) {
            query = query.filter(contains(name_key(), search));
        }
        query
    }
}

fn name_key() -> sea_orm::sea_query::SimpleExpr {
    Expr::col((user::Entity, user::Column::NameKey))
}

/// A page of the users, by name. Administrators only: callers check.
pub async fn list(
    db: &Db,
    filter: &UserFilter,
    page: &PageArgs,
) -> Result<Page<user::Model>, ListError> {
    let request = page.check()?;
    let ordering = Ordering {
        by: By::Text(name_key()),
        id: Expr::col((user::Entity, user::Column::Id)),
        descending: false,
    };
    let query = request.restrict(filter.select(), &ordering)?;
    Ok(request.cut(query.all(db.read()).await?, |user| {
        Position::text(user.name_key.clone(), user.id)
    }))
}

/// How many users there are.
pub async fn count(db: &Db, filter: &UserFilter) -> Result<u64, DbErr> {
    filter.select().count(db.read()).await
}

/// Those of these users that the viewer may see: themselves, or, for an administrator, any.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<user::Model>, DbErr> {
    let visible = ids
        .iter()
        .copied()
        .filter(|id| viewer.admin || *id == viewer.user_id);
    user::Entity::find()
        .filter(user::Column::Id.is_in(visible))
        .all(db.read())
        .await
}

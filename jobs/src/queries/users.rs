//! Users as they see themselves, and as administrators see them.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::{Role, UserStatus, user};

use super::Viewer;
use super::images::contains;
use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use crate::infra::db::Db;

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
    fn select(&self, viewer: Viewer) -> Select<user::Entity> {
        let mut query = visible(viewer);
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

/// The users that the viewer may see: themselves, or, for an administrator, any.
fn visible(viewer: Viewer) -> Select<user::Entity> {
    match viewer.owner() {
        None => user::Entity::find(),
        Some(owner) => user::Entity::find().filter(user::Column::Id.eq(owner)),
    }
}

/// A page of the users that the viewer may see, by name.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    filter: &UserFilter,
    page: &PageArgs,
) -> Result<Page<user::Model>, ListError> {
    let request = page.check()?;
    let ordering = Ordering {
        by: By::Text(name_key()),
        id: Expr::col((user::Entity, user::Column::Id)),
        descending: false,
    };
    let query = request.restrict(filter.select(viewer), &ordering)?;
    Ok(request.cut(query.all(db.read()).await?, |user| {
        Position::text(user.name_key.clone(), user.id)
    }))
}

/// How many there are of them in all.
pub async fn count(db: &Db, viewer: Viewer, filter: &UserFilter) -> Result<u64, DbErr> {
    filter.select(viewer).count(db.read()).await
}

/// Those of these users that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<user::Model>, DbErr> {
    visible(viewer)
        .filter(user::Column::Id.is_in(ids.iter().copied()))
        .all(db.read())
        .await
}

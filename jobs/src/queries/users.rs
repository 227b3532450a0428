//! Users as they see themselves, and as administrators see them.

use sea_orm::{ColumnTrait, Condition, DbErr, PaginatorTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::user::{Column, Entity, Model};
use wharfinger_entity::{Role, UserStatus};

use super::images::contains;
use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use super::{Viewer, with_ids};
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
    fn select(&self, viewer: Viewer) -> Select<Entity> {
        let search = self.search.as_deref().filter(|search| !search.is_empty());
        let matching = Condition::all()
            .add_option(self.role.map(|role| Column::Role.eq(role)))
            .add_option(self.status.map(|status| Column::Status.eq(status)))
            .add_option(search.map(|search| contains(Column::NameKey.into_expr(), search)));
        visible(viewer).filter(matching)
    }
}

/// The users that the viewer may see: themselves, or, for an administrator, any.
fn visible(viewer: Viewer) -> Select<Entity> {
    viewer.rows(Column::Id)
}

/// A page of the users that the viewer may see, by name.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    filter: &UserFilter,
    page: &PageArgs,
) -> Result<Page<Model>, ListError> {
    let ordering = Ordering {
        by: By::Text("name_key"),
        descending: false,
    };
    let users = filter.select(viewer);
    let position = |user: &Model| Position::text(user.name_key.clone(), user.id);
    let request = page.check()?;
    request.read(users, ordering, db.read(), position).await
}

/// How many there are of them in all.
pub async fn count(db: &Db, viewer: Viewer, filter: &UserFilter) -> Result<u64, DbErr> {
    filter.select(viewer).count(db.read()).await
}

/// Those of these users that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    with_ids(db, visible(viewer), Column::Id, ids).await
}

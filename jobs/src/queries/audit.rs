//! The audit log. Only administrators see it.

use sea_orm::{ColumnTrait, Condition, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::AuditAction;
use wharfinger_entity::audit_entry::{Column, Entity, Model};

use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use super::{Viewer, with_ids};
use crate::infra::db::Db;

/// Which entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only what this user did.
    pub actor_id: Option<Uuid>,
    /// Only what was done to this thing.
    pub subject_id: Option<Uuid>,
    /// Only these acts.
    pub actions: Option<Vec<AuditAction>>,
}

impl AuditFilter {
    fn select(&self, viewer: Viewer) -> Select<Entity> {
        let actions = self.actions.clone();
        let matching = Condition::all()
            .add_option(self.actor_id.map(|id| Column::ActorId.eq(id)))
            .add_option(self.subject_id.map(|id| Column::SubjectId.eq(id)))
            .add_option(actions.map(|actions| Column::Action.is_in(actions)));
        visible(viewer).filter(matching)
    }
}

/// The entries that the viewer may see: all of them, or none.
fn visible(viewer: Viewer) -> Select<Entity> {
    if viewer.admin {
        Entity::find()
    } else {
        Entity::find().filter(Column::Id.is_in(std::iter::empty::<Uuid>()))
    }
}

/// A page of the log as the viewer may see it, newest first.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    filter: &AuditFilter,
    page: &PageArgs,
) -> Result<Page<Model>, ListError> {
    let ordering = Ordering {
        by: By::Id,
        descending: true,
    };
    let (request, entries) = (page.check()?, filter.select(viewer));
    let position = |entry: &Model| Position::id(entry.id);
    request.read(entries, ordering, db.read(), position).await
}

/// How many entries there are of it in all.
pub async fn count(db: &Db, viewer: Viewer, filter: &AuditFilter) -> Result<u64, DbErr> {
    filter.select(viewer).count(db.read()).await
}

/// Those of these entries that the viewer may see.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    with_ids(db, visible(viewer), Column::Id, ids).await
}

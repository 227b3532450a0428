//! The audit log. Only administrators see it.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, Select};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, audit_entry};

use super::Viewer;
use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
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
    fn select(&self, viewer: Viewer) -> Select<audit_entry::Entity> {
        use audit_entry::Column;
        let mut query = visible(viewer);
        if let Some(actor) = self.actor_id {
            query = query.filter(Column::ActorId.eq(actor));
        }
        if let Some(subject) = self.subject_id {
            query = query.filter(Column::SubjectId.eq(subject));
        }
        if let Some(actions) = &self.actions {
            query = query.filter(Column::Action.is_in(actions.iter().copied()));
        }
        query
    }
}

/// The entries that the viewer may see: all of them, or none.
fn visible(viewer: Viewer) -> Select<audit_entry::Entity> {
    let all = audit_entry::Entity::find();
    if viewer.admin {
        all
    } else {
        all.filter(audit_entry::Column::Id.is_in(std::iter::empty::<Uuid>()))
    }
}

/// A page of the log as the viewer may see it, newest first.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    filter: &AuditFilter,
    page: &PageArgs,
) -> Result<Page<audit_entry::Model>, ListError> {
    let request = page.check()?;
    let id = Expr::col((audit_entry::Entity, audit_entry::Column::Id));
    let ordering = Ordering {
        by: By::Id,
        id,
        descending: true,
    };
    let query = request.restrict(filter.select(viewer), &ordering)?;
    Ok(request.cut(query.all(db.read()).await?, |entry| Position::id(entry.id)))
}

/// How many entries there are of it in all.
pub async fn count(db: &Db, viewer: Viewer, filter: &AuditFilter) -> Result<u64, DbErr> {
    filter.select(viewer).count(db.read()).await
}

/// Those of these entries that the viewer may see.
pub async fn by_ids(
    db: &Db,
    viewer: Viewer,
    ids: &[Uuid],
) -> Result<Vec<audit_entry::Model>, DbErr> {
    visible(viewer)
        .filter(audit_entry::Column::Id.is_in(ids.iter().copied()))
        .all(db.read())
        .await
}

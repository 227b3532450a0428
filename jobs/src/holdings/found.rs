//! The holdings that matter to a pull, read by one statement.

use sea_orm::sea_query::{Alias, Expr, JoinType, Query};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, FromQueryResult as _};
use uuid::Uuid;
use wharfinger_entity::{engine_image, engine_tag, image};

use crate::infra::db::sql::select_all;

/// The prefix of a holding's columns.
const HOLDING: &str = "i_";

/// The column that says whether a tag is to be looked at.
const ORPHANED_TAGS: &str = "orphaned_tags";

/// The live holdings on a host, public or of one user, of a reference or of the engine's image that it means.
pub(crate) struct Found {
    holdings: Vec<image::Model>,
    user_id: Uuid,
    reference: String,
    engine_image_id: Uuid,
    /// Whether a pull of the reference, on any image of the host, has recorded where its tag was before.
    pub(crate) has_orphaned_tags: bool,
}

impl Found {
    /// Reads them. The row of the engine's image must exist. For a user that is nil: public ones alone.
    pub(crate) async fn read(
        db: &impl ConnectionTrait,
        row: &engine_image::Model,
        user_id: Uuid,
        reference: &str,
    ) -> Result<Self, DbErr> {
        let which = Condition::any()
            .add(image::Column::Reference.eq(reference))
            .add(image::Column::EngineImageId.eq(row.id));
        let matters = Condition::all()
            .add(image::Column::Holder.is_in([Uuid::nil(), user_id]))
            .add(image::Column::HostId.eq(row.host_id))
            .add(image::Column::Live.eq(1))
            .add(which);
        let orphaned_tags = Query::select()
            .expr(Expr::value(1))
            .from(engine_tag::Entity)
            .and_where(engine_tag::Column::HostId.eq(row.host_id))
            .and_where(engine_tag::Column::Reference.eq(reference))
            .and_where(engine_tag::Column::PreviousImageId.is_not_null())
            .to_owned();
        let mut select = Query::select();
        select_all::<image::Entity>(&mut select, HOLDING);
        select
            .expr_as(Expr::exists(orphaned_tags), Alias::new(ORPHANED_TAGS))
            .from(engine_image::Entity)
            .join(JoinType::LeftJoin, image::Entity, matters)
            .and_where(engine_image::Column::Id.eq(row.id));
        let (mut holdings, mut has_orphaned_tags) = (Vec::new(), false);
        for found in db.query_all(&select).await? {
            if found.try_get::<Option<Uuid>>(HOLDING, "id")?.is_some() {
                holdings.push(image::Model::from_query_result(&found, HOLDING)?);
            }
            has_orphaned_tags = found.try_get("", ORPHANED_TAGS)?;
        }
        Ok(Self {
            holdings,
            user_id,
            reference: reference.to_owned(),
            engine_image_id: row.id,
            has_orphaned_tags,
        })
    }

    /// The public image of the reference, whatever that means now: an administrator's pull refreshes it.
    pub(crate) fn public_of_reference(&self) -> Option<&image::Model> {
        self.of(Uuid::nil())
            .find(|public| public.reference == self.reference)
    }

    /// The public image of the engine's image. Where that is public by several references, the one that was asked for, else
    /// the oldest.
    pub(crate) fn public_of_image(&self) -> Option<&image::Model> {
        self.of(Uuid::nil())
            .filter(|public| public.engine_image_id == self.engine_image_id)
            .min_by_key(|public| (public.reference != self.reference, public.id))
    }

    /// The user's holding of the reference, of whatever image.
    pub(crate) fn own(&self) -> Option<&image::Model> {
        self.of(self.user_id)
            .find(|own| own.reference == self.reference)
    }

    /// Whether the user holds the engine's image, by any reference, and so pays for it.
    pub(crate) fn is_paid(&self) -> bool {
        self.of(self.user_id)
            .any(|own| own.engine_image_id == self.engine_image_id)
    }

    fn of(&self, holder: Uuid) -> impl Iterator<Item = &image::Model> {
        let holdings = self.holdings.iter();
        holdings.filter(move |holding| holding.holder == holder)
    }
}

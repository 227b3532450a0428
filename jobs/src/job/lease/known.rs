//! What the database knows of a pull's reference on its host when the pull is claimed, read with the job.

use sea_orm::sea_query::{
    Alias, Expr, ExprTrait as _, Order, Query, SelectStatement, SubQueryStatement,
};
use sea_orm::{ColumnTrait, DbErr, QueryResult, QueryTrait, Select};
use uuid::Uuid;
use wharfinger_entity::{EngineImageStatus, engine_image, engine_tag, image, job};

const IS_PUBLIC: &str = "known_public";
const IMAGE: &str = "known_image";
const VERSION: &str = "known_version";

/// What a claim reads beside the job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Whether the reference was public on the host.
    pub(crate) is_public: bool,
    /// The image id that the reference meant when it was last recorded, with its row's version. It was present, and not
    /// locked.
    image: Option<(String, i64)>,
}

impl Known {
    /// Adds its columns to a statement that selects a job.
    pub(super) fn select(job: Select<job::Entity>) -> SelectStatement {
        let own = |column: job::Column| (job::Entity, column);
        let public = Query::select()
            .expr(Expr::value(1))
            .from(image::Entity)
            .and_where(image::Column::Holder.eq(Uuid::nil()))
            .and_where(
                Expr::col((image::Entity, image::Column::HostId)).equals(own(job::Column::HostId)),
            )
            .and_where(
                Expr::col((image::Entity, image::Column::Reference))
                    .equals(own(job::Column::Reference)),
            )
            .and_where(image::Column::Live.eq(1))
            .to_owned();
        let meant = |column: engine_image::Column| {
            let select = Query::select()
                .column((engine_image::Entity, column))
                .from(engine_tag::Entity)
                .inner_join(
                    engine_image::Entity,
                    Expr::col((engine_image::Entity, engine_image::Column::Id))
                        .equals((engine_tag::Entity, engine_tag::Column::EngineImageId)),
                )
                .and_where(
                    Expr::col((engine_tag::Entity, engine_tag::Column::HostId))
                        .equals(own(job::Column::HostId)),
                )
                .and_where(
                    Expr::col((engine_tag::Entity, engine_tag::Column::Reference))
                        .equals(own(job::Column::Reference)),
                )
                .and_where(engine_image::Column::Status.eq(EngineImageStatus::Present))
                .and_where(engine_image::Column::LockUntil.is_null())
                .order_by((engine_tag::Entity, engine_tag::Column::Id), Order::Desc)
                .limit(1)
                .to_owned();
            Expr::SubQuery(None, Box::new(SubQueryStatement::SelectStatement(select)))
        };
        let mut select = job.into_query();
        select
            .expr_as(Expr::exists(public), Alias::new(IS_PUBLIC))
            .expr_as(meant(engine_image::Column::ImageId), Alias::new(IMAGE))
            .expr_as(meant(engine_image::Column::Version), Alias::new(VERSION));
        select
    }

    /// Reads them.
    pub(super) fn of(row: &QueryResult) -> Result<Self, DbErr> {
        let image: Option<String> = row.try_get("", IMAGE)?;
        let version: Option<i64> = row.try_get("", VERSION)?;
        Ok(Self {
            is_public: row.try_get("", IS_PUBLIC)?,
            image: image.zip(version),
        })
    }

    /// The version of the row of this image, if it is the one that was meant.
    pub(crate) fn version_of(&self, image_id: &str) -> Option<i64> {
        let image = self.image.as_ref();
        image
            .filter(|(id, _)| id == image_id)
            .map(|(_, version)| *version)
    }
}

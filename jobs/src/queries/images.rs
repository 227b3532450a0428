//! Images as users see them.

use sea_orm::sea_query::{Expr, Func, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, SelectTwo,
};
use uuid::Uuid;
use wharfinger_entity::{ImageState, ImageVisibility, engine_image, image};

use super::Viewer;
use super::page::{By, ListError, Ordering, Page, PageArgs, Position};
use crate::db::Db;

/// A holding with what the engine says of the image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// The holding.
    pub image: image::Model,
    /// The image on the engine.
    pub engine: engine_image::Model,
}

/// Which images.
#[derive(Clone, Debug, Default)]
pub struct ImageFilter {
    /// In one of these states; HELD when none is given.
    pub states: Option<Vec<ImageState>>,
    /// Private or public ones.
    pub visibility: Option<ImageVisibility>,
    /// On this host.
    pub host_id: Option<Uuid>,
    /// Part of the reference, whatever the case.
    pub search: Option<String>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageOrder {
    /// Newest first.
    #[default]
    PulledAtDesc,
    /// Oldest first.
    PulledAtAsc,
    /// Largest first.
    SizeDesc,
    /// Smallest first.
    SizeAsc,
    /// By reference.
    ReferenceAsc,
}

impl ImageOrder {
    fn ordering(self) -> Ordering {
        let column = |column: image::Column| Expr::col((image::Entity, column));
        let size = || Expr::col((engine_image::Entity, engine_image::Column::Size));
        let (by, descending) = match self {
            Self::PulledAtDesc => (By::Number(column(image::Column::PulledAt)), true),
            Self::PulledAtAsc => (By::Number(column(image::Column::PulledAt)), false),
            Self::SizeDesc => (By::Number(size()), true),
            Self::SizeAsc => (By::Number(size()), false),
            Self::ReferenceAsc => (By::Text(column(image::Column::Reference)), false),
        };
        Ordering {
            by,
            id: column(image::Column::Id),
            descending,
        }
    }

    fn position(self, view: &ImageView) -> Position {
        let id = view.image.id;
        match self {
            Self::PulledAtDesc | Self::PulledAtAsc => {
                Position::number(view.image.pulled_at.micros(), id)
            }
            Self::SizeDesc | Self::SizeAsc => Position::number(view.engine.size, id),
            Self::ReferenceAsc => Position::text(view.image.reference.clone(), id),
        }
    }
}

/// A page of a user's private images, as far as the viewer may see them, and every public one.
pub async fn list(
    db: &Db,
    viewer: Viewer,
    user_id: Uuid,
    filter: &ImageFilter,
    order: ImageOrder,
    page: &PageArgs,
) -> Result<Page<ImageView>, ListError> {
    let request = page.check()?;
    let query = request.restrict(
        with_engine().filter(matching(viewer, user_id, filter)),
        &order.ordering(),
    )?;
    let rows = query.all(db.read()).await?;
    Ok(
        request.cut(rows.into_iter().filter_map(view).collect(), |view| {
            order.position(view)
        }),
    )
}

/// How many there are of them in all.
pub async fn count(
    db: &Db,
    viewer: Viewer,
    user_id: Uuid,
    filter: &ImageFilter,
) -> Result<u64, DbErr> {
    image::Entity::find()
        .filter(matching(viewer, user_id, filter))
        .count(db.read())
        .await
}

/// Those of these images that the viewer may see: their own, public ones, or, for an administrator, any.
pub async fn by_ids(db: &Db, viewer: Viewer, ids: &[Uuid]) -> Result<Vec<ImageView>, DbErr> {
    Ok(with_engine()
        .filter(image::Column::Id.is_in(ids.iter().copied()))
        .filter(visible(viewer))
        .all(db.read())
        .await?
        .into_iter()
        .filter_map(view)
        .collect())
}

fn with_engine() -> SelectTwo<image::Entity, engine_image::Entity> {
    image::Entity::find().find_also_related(engine_image::Entity)
}

fn view((image, engine): (image::Model, Option<engine_image::Model>)) -> Option<ImageView> {
    engine.map(|engine| ImageView { image, engine })
}

/// The images that the viewer may see. Public ones have nobody for a holder.
fn visible(viewer: Viewer) -> Condition {
    let owner = viewer.owner();
    let holders = owner.map(|owner| image::Column::Holder.is_in([owner, Uuid::nil()]));
    Condition::all().add_option(holders)
}

fn matching(viewer: Viewer, user_id: Uuid, filter: &ImageFilter) -> Condition {
    let states = filter
        .states
        .clone()
        .unwrap_or_else(|| vec![ImageState::Held]);
    let holders = match filter.visibility {
        None => vec![user_id, Uuid::nil()],
        Some(ImageVisibility::Private) => vec![user_id],
        Some(ImageVisibility::Public) => vec![Uuid::nil()],
    };
    let mut matching = visible(viewer)
        .add(image::Column::Holder.is_in(holders))
        .add(image::Column::State.is_in(states));
    if let Some(host_id) = filter.host_id {
        matching = matching.add(image::Column::HostId.eq(host_id));
    }
    if let Some(search) = filter.search.as_deref().filter(|search| !search.is_empty()) {
        matching = matching.add(contains(
            Expr::col((image::Entity, image::Column::Reference)),
            search,
        ));
    }
    matching
}

/// Longer than any text that is searched; SQLite refuses to look for more than 50,000 bytes.
const LONGEST_PART: usize = 4096;

/// Whether text contains `part`, whatever the case, with no character of `part` meaning anything but itself.
pub(super) fn contains(text: SimpleExpr, part: &str) -> SimpleExpr {
    if part.len() > LONGEST_PART {
        return Expr::val(1).eq(0);
    }
    let mut pattern = String::from("%");
    for character in part.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    Expr::expr(Func::lower(text)).like(sea_orm::sea_query::LikeExpr::new(pattern).escape('!'))
}

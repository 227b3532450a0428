//! Images as users see them.

mod rows;

use std::sync::Arc;

use sea_orm::sea_query::{Expr, Func, LikeExpr, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, DbErr, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter,
    Statement,
};
use uuid::Uuid;
use wharfinger_entity::{ExposedPorts, ImageState, ImageVisibility, host, image};

use super::Viewer;
use super::page::{By, ListError, Ordering, Page, PageArgs, PageError, PageRequest, Position};
use crate::infra::db::Db;

/// A holding, with as much of what it refers to as was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// The holding.
    pub image: image::Model,
    /// The engine's data of the image; none if not asked for.
    pub engine: Option<OnEngine>,
    /// Where it is; none if it was not asked for.
    pub host: Option<Arc<host::Model>>,
}

/// An engine's data of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct OnEngine {
    /// The engine's image id, `sha256:…`.
    pub image_id: String,
    /// As `linux/amd64`.
    pub platform: String,
    /// As the image declares them, lowest first.
    pub exposed_ports: ExposedPorts,
}

/// The tables that are read with the holdings, in the same statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct With {
    /// The engine's data of each.
    pub engine: bool,
    /// The host of each.
    pub host: bool,
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
    /// A part of the reference, regardless of case.
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
        let by = match self {
            Self::PulledAtDesc | Self::PulledAtAsc => By::Number("pulled_at"),
            Self::SizeDesc | Self::SizeAsc => By::Number("size"),
            Self::ReferenceAsc => By::Text("reference"),
        };
        let descending = matches!(self, Self::PulledAtDesc | Self::SizeDesc);
        Ordering { by, descending }
    }

    fn position(self, view: &ImageView) -> Position {
        let image = &view.image;
        match self {
            Self::PulledAtDesc | Self::PulledAtAsc => {
                Position::number(image.pulled_at.micros(), image.id)
            }
            Self::SizeDesc | Self::SizeAsc => Position::number(image.size, image.id),
            Self::ReferenceAsc => Position::text(image.reference.clone(), image.id),
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
    with: With,
) -> Result<Page<ImageView>, ListError> {
    let request = page.check()?;
    let Some(statement) = page_of(db.backend(), viewer, user_id, filter, order, &request, with)?
    else {
        return Ok(request.cut(Vec::new(), |view| order.position(view)));
    };
    // With a search inside of a range another index may be the better one.
    let range_alone = filter.host_id.is_none() && filter.search.is_none();
    let pool = if range_alone { db.planned() } else { db.read() };
    let views = rows::read(pool, statement, with).await?;
    Ok(request.cut(views, |view| order.position(view)))
}

/// The statement that [`list`] runs for a page; none where nothing can match. For those who compare with it, and for
/// tests of its plan.
#[cfg(feature = "testing")]
pub fn statement(
    backend: DbBackend,
    user_id: Uuid,
    order: ImageOrder,
    page: &PageArgs,
    with: With,
) -> Result<Option<Statement>, PageError> {
    let filter = ImageFilter::default();
    let viewer = Viewer::user(user_id);
    page_of(
        backend,
        viewer,
        user_id,
        &filter,
        order,
        &page.check()?,
        with,
    )
}

fn page_of(
    backend: DbBackend,
    viewer: Viewer,
    user_id: Uuid,
    filter: &ImageFilter,
    order: ImageOrder,
    request: &PageRequest,
    with: With,
) -> Result<Option<Statement>, PageError> {
    let mut holdings = Vec::new();
    for holder in holders(viewer, user_id, filter) {
        holdings.extend(states(filter).into_iter().map(|state| (holder, state)));
    }
    rows::page(backend, &holdings, filter, order.ordering(), request, with)
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
    let with = With {
        engine: true,
        host: false,
    };
    let statement = rows::by_ids(db.backend(), viewer.owner(), ids, with);
    rows::read(db.read(), statement, with).await
}

/// The possible holders of the listed images, as far as the viewer may see them. A public image has the nil UUID.
fn holders(viewer: Viewer, user_id: Uuid, filter: &ImageFilter) -> Vec<Uuid> {
    let mut holders = match filter.visibility {
        None => vec![user_id, Uuid::nil()],
        Some(ImageVisibility::Private) => vec![user_id],
        Some(ImageVisibility::Public) => vec![Uuid::nil()],
    };
    if let Some(owner) = viewer.owner() {
        holders.retain(|holder| *holder == owner || holder.is_nil());
    }
    holders
}

/// The states of what is listed, each of them once.
fn states(filter: &ImageFilter) -> Vec<ImageState> {
    let Some(asked) = &filter.states else {
        return vec![ImageState::Held];
    };
    let every = [ImageState::Held, ImageState::Released, ImageState::Lost];
    every
        .into_iter()
        .filter(|state| asked.contains(state))
        .collect()
}

fn matching(viewer: Viewer, user_id: Uuid, filter: &ImageFilter) -> Condition {
    let reference = || image::Column::Reference.into_expr();
    let search = filter.search.as_deref().filter(|search| !search.is_empty());
    Condition::all()
        .add(image::Column::Holder.is_in(holders(viewer, user_id, filter)))
        .add(image::Column::State.is_in(states(filter)))
        .add_option(filter.host_id.map(|id| image::Column::HostId.eq(id)))
        .add_option(search.map(|search| contains(reference(), search)))
}

/// Longer than any text that is searched; SQLite refuses to look for more than 50,000 bytes.
const LONGEST_PART: usize = 4096;

/// Whether text contains `part`, regardless of case. No character of `part` is a wildcard.
pub(super) fn contains(text: SimpleExpr, part: &str) -> SimpleExpr {
    match pattern(part) {
        Some(pattern) => Expr::expr(Func::lower(text)).like(LikeExpr::new(pattern).escape('!')),
        None => Expr::val(1).eq(0),
    }
}

/// The pattern of `LIKE … ESCAPE '!'` for text in lower case that contains `part`; none where no text does.
fn pattern(part: &str) -> Option<String> {
    if part.len() > LONGEST_PART {
        return None;
    }
    let part = part.to_lowercase().replace('!', "!!");
    Some(format!("%{}%", part.replace('%', "!%").replace('_', "!_")))
}

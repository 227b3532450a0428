//! Pages of a list, by keys (Relay's cursor connections).

mod written;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sea_orm::sea_query::{Alias, Expr, Order, Value};
use sea_orm::{EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::infra::db::Pool;

/// Items of a page when nothing is asked for.
pub const DEFAULT_SIZE: i32 = 20;

/// Items of a page at most.
pub const MAX_SIZE: i32 = 100;

/// The four arguments of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageArgs {
    /// How many from the front.
    pub first: Option<i32>,
    /// Only what comes after this cursor.
    pub after: Option<String>,
    /// How many from the back.
    pub last: Option<i32>,
    /// Only what comes before this cursor.
    pub before: Option<String>,
}

/// Why the arguments make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Both directions at once.
    #[error("give either `first` or `last`, not both")]
    BothDirections,
    /// Out of range.
    #[error("`{argument}` is {value}: a page has 0 to {MAX_SIZE} items")]
    Size {
        /// `first` or `last`.
        argument: &'static str,
        /// The given value.
        value: i32,
    },
    /// Not a cursor of this list.
    #[error(
        "`{0}` is not a cursor of this list: pass on an `endCursor` or `startCursor` as it came"
    )]
    Cursor(&'static str),
}

/// Where an item stands in a list: the value of what it is ordered by, and its id among equals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position(Key, Uuid);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    None(()),
    Number(i64),
    Text(String),
}

impl Position {
    /// In a list by id.
    pub fn id(id: Uuid) -> Self {
        Self(Key::None(()), id)
    }

    /// In a list by a number.
    pub fn number(number: i64, id: Uuid) -> Self {
        Self(Key::Number(number), id)
    }

    /// In a list by text.
    pub fn text(text: String, id: Uuid) -> Self {
        Self(Key::Text(text), id)
    }

    /// As it is handed out.
    #[expect(
        clippy::missing_panics_doc,
        reason = "a tuple of plain values always encodes"
    )]
    pub fn cursor(&self) -> String {
        let json = serde_json::to_vec(self).expect("a tuple of plain values always encodes");
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }

    /// Reads what [`Self::cursor`] wrote; none for anything else.
    pub fn parse(cursor: &str) -> Option<Self> {
        if cursor.len() > 2048 {
            return None;
        }
        let json = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let position: Self = serde_json::from_slice(&json).ok()?;
        // One spelling for each, as for ids; and a text that the databases refuse was never ours.
        let has_nul = matches!(&position.0, Key::Text(text) if text.contains('\0'));
        (position.cursor() == cursor && !has_nul).then_some(position)
    }
}

/// The order of a list. The column `id` breaks ties, in the same direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordering {
    pub(super) by: By,
    pub(super) descending: bool,
}

/// The column that a list is ordered by first.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// None: only the id.
    Id,
    /// A whole number.
    Number(&'static str),
    /// Text.
    Text(&'static str),
}

impl By {
    fn column(self) -> Option<&'static str> {
        match self {
            Self::Id => None,
            Self::Number(column) | Self::Text(column) => Some(column),
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items with their cursors.
    pub items: Vec<(String, T)>,
    /// Whether there is more after it.
    pub has_next: bool,
    /// Whether there is more before it.
    pub has_previous: bool,
}

/// Checked arguments.
#[derive(Clone, Debug)]
pub struct PageRequest {
    size: u64,
    backward: bool,
    after: Option<Position>,
    before: Option<Position>,
}

impl PageArgs {
    /// Checks the arguments.
    pub fn check(&self) -> Result<PageRequest, PageError> {
        let size = |argument, value: i32| match u64::try_from(value) {
            Ok(size) if value <= MAX_SIZE => Ok(size),
            _ => Err(PageError::Size { argument, value }),
        };
        let (size, backward) = match (self.first, self.last) {
            (Some(_), Some(_)) => return Err(PageError::BothDirections),
            (None, Some(last)) => (size("last", last)?, true),
            (first, None) => (size("first", first.unwrap_or(DEFAULT_SIZE))?, false),
        };
        let cursor = |argument, cursor: &Option<String>| {
            let position = cursor.as_deref().map(Position::parse);
            position
                .map(|position| position.ok_or(PageError::Cursor(argument)))
                .transpose()
        };
        Ok(PageRequest {
            size,
            backward,
            after: cursor("after", &self.after)?,
            before: cursor("before", &self.before)?,
        })
    }
}

impl PageRequest {
    /// Reads this page of some rows.
    pub(super) async fn read<E: EntityTrait>(
        &self,
        mut rows: Select<E>,
        ordering: Ordering,
        pool: &Pool,
        position: impl Fn(&E::Model) -> Position,
    ) -> Result<Page<E::Model>, ListError> {
        for cursor in self.cursors(ordering) {
            rows = rows.filter(cursor?.rows_past::<E>());
        }
        let order = self.order(ordering);
        if let Some(key) = ordering.by.column() {
            rows = rows.order_by(column::<E>(key), order.clone());
        }
        let rows = rows.order_by(column::<E>("id"), order).limit(self.rows());
        Ok(self.cut(rows.all(pool).await?, position))
    }

    /// The cursors that bound the page. Fails for one of another list.
    fn cursors(&self, ordering: Ordering) -> impl Iterator<Item = Result<Past, PageError>> {
        let bounds = [
            ("after", &self.after, ordering.descending),
            ("before", &self.before, !ordering.descending),
        ];
        bounds
            .into_iter()
            .filter_map(move |(argument, cursor, down)| {
                let Position(key, id) = cursor.as_ref()?;
                let key = match (ordering.by, key) {
                    (By::Id, Key::None(())) => None,
                    (By::Number(column), Key::Number(number)) => Some((column, (*number).into())),
                    (By::Text(column), Key::Text(text)) => Some((column, text.clone().into())),
                    _ => return Some(Err(PageError::Cursor(argument))),
                };
                Some(Ok(Past { key, id: *id, down }))
            })
    }

    /// Which way the keys go.
    pub(super) fn order(&self, ordering: Ordering) -> Order {
        if ordering.descending == self.backward {
            Order::Asc
        } else {
            Order::Desc
        }
    }

    /// Rows that are read: one more than the page has, to know whether there is another page.
    pub(super) fn rows(&self) -> u64 {
        self.size + 1
    }

    /// Cuts the answer to the page and puts it in the list's order.
    pub(super) fn cut<T>(&self, mut rows: Vec<T>, position: impl Fn(&T) -> Position) -> Page<T> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = rows.len() > size;
        rows.truncate(size);
        if self.backward {
            rows.reverse();
        }
        let items = rows
            .into_iter()
            .map(|row| (position(&row).cursor(), row))
            .collect();
        let (has_next, has_previous) = if self.backward {
            (self.before.is_some(), more)
        } else {
            (more, self.after.is_some())
        };
        Page {
            items,
            has_next,
            has_previous,
        }
    }
}

/// The rows past a cursor.
struct Past {
    key: Option<(&'static str, Value)>,
    id: Uuid,
    /// Whether they have smaller keys; else they have greater ones.
    down: bool,
}

impl Past {
    fn rows_past<E: EntityTrait>(self) -> Expr {
        let past: fn(Expr, Value) -> Expr = if self.down {
            ExprTrait::lt
        } else {
            ExprTrait::gt
        };
        let past_id = past(column::<E>("id"), self.id.into());
        let Some((key, value)) = self.key else {
            return past_id;
        };
        let equal = column::<E>(key).eq(value.clone());
        past(column::<E>(key), value).or(equal.and(past_id))
    }
}

fn column<E: EntityTrait>(name: &'static str) -> Expr {
    Expr::col((E::default(), Alias::new(name)))
}

/// Why a list could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The caller's arguments.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sea_orm::DbErr),
}

//! Pages of a list, by keys (Relay's cursor connections).

mod written;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sea_orm::sea_query::{Expr, Order, SimpleExpr, Value};
use sea_orm::{Condition, ExprTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(super) use written::Keys;

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
        (position.cursor() == cursor && !position.has_nul()).then_some(position)
    }

    fn has_nul(&self) -> bool {
        matches!(&self.0, Key::Text(text) if text.contains('\0'))
    }
}

/// The order of a list. The id breaks ties, in the same direction.
#[derive(Clone, Debug)]
pub(crate) struct Ordering {
    pub(crate) by: By,
    pub(crate) id: SimpleExpr,
    pub(crate) descending: bool,
}

/// The first key of an order.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// None: only the id.
    Id,
    /// A whole number.
    Number(SimpleExpr),
    /// Text.
    Text(SimpleExpr),
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
        let cursor = |argument, cursor: &Option<String>| match cursor {
            None => Ok(None),
            Some(cursor) => Position::parse(cursor)
                .map(Some)
                .ok_or(PageError::Cursor(argument)),
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
    /// Restricts and orders a query to this page, and one item more to know whether there is another page.
    pub(crate) fn restrict<Q: QueryFilter + QueryOrder + QuerySelect>(
        &self,
        query: Q,
        ordering: &Ordering,
    ) -> Result<Q, PageError> {
        let mut query = query;
        if let Some(after) = &self.after {
            query = query.filter(ordering.beyond("after", after, ordering.descending)?);
        }
        if let Some(before) = &self.before {
            query = query.filter(ordering.beyond("before", before, !ordering.descending)?);
        }
        let order = self.order(ordering);
        if let By::Number(key) | By::Text(key) = &ordering.by {
            query = query.order_by(key.clone(), order.clone());
        }
        Ok(query
            .order_by(ordering.id.clone(), order)
            .limit(self.size + 1))
    }

    /// Which way the keys go.
    pub(crate) fn order(&self, ordering: &Ordering) -> Order {
        if ordering.descending == self.backward {
            Order::Asc
        } else {
            Order::Desc
        }
    }

    /// Cuts the answer to the page and puts it in the list's order.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>, position: impl Fn(&T) -> Position) -> Page<T> {
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
        if self.backward {
            Page {
                items,
                has_next: self.before.is_some(),
                has_previous: more,
            }
        } else {
            Page {
                items,
                has_next: more,
                has_previous: self.after.is_some(),
            }
        }
    }
}

impl Ordering {
    /// The rows after a position: those with smaller keys if `down`, else those with greater ones.
    fn beyond(
        &self,
        argument: &'static str,
        position: &Position,
        down: bool,
    ) -> Result<Condition, PageError> {
        let past = |expr: &SimpleExpr, value: Value| -> SimpleExpr {
            if down {
                expr.clone().lt(value)
            } else {
                expr.clone().gt(value)
            }
        };
        let past_id = past(&self.id, position.1.into());
        let (key, value): (&SimpleExpr, Value) = match (&self.by, &position.0) {
            (By::Id, Key::None(())) => return Ok(Condition::all().add(past_id)),
            (By::Number(key), Key::Number(number)) => (key, (*number).into()),
            (By::Text(key), Key::Text(text)) => (key, text.clone().into()),
            _ => return Err(PageError::Cursor(argument)),
        };
        let equal = Expr::expr(key.clone()).eq(value.clone());
        Ok(Condition::any()
            .add(past(key, value))
            .add(Condition::all().add(equal).add(past_id)))
    }
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

//! Relay connections: a page of a list with cursors. The total is counted only where it is selected.

use std::sync::Arc;

use async_graphql::{Object, SimpleObject};
use futures::future::{BoxFuture, FutureExt as _, Shared, TryFutureExt as _};
use wharfinger_jobs::infra::db::DbErr;
use wharfinger_jobs::queries::page::{Page, PageArgs};

use super::rows::{Items, One, Row};
use super::{AuditEntry, Host, Image, Job, LedgerEntry, User};
use crate::graphql::context::internal;
use crate::graphql::scalars::int;

/// The position of a page in its list.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct PageInfo {
    /// Whether there are items after this page.
    has_next_page: bool,
    /// Whether there are items before this page.
    has_previous_page: bool,
    /// Cursor of the page's first item; null if the page is empty.
    start_cursor: Option<String>,
    /// Cursor of the page's last item; null if the page is empty.
    end_cursor: Option<String>,
}

/// Counts the whole list, once and only where it is waited for.
type Count = Shared<BoxFuture<'static, Result<u64, Arc<DbErr>>>>;

/// Returns the page that the arguments of a list ask for.
pub(crate) fn page(
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> PageArgs {
    PageArgs {
        first,
        after,
        last,
        before,
    }
}

/// Makes the connection of a type, and its edge.
macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ident, $items:literal, $item:literal) => {
        pub(crate) struct $connection {
            edges: Vec<$edge>,
            page_info: PageInfo,
            count: Count,
        }

        pub(crate) struct $edge {
            cursor: String,
            node: $node,
        }

        impl Row for $edge {}

        #[doc = concat!($item, " in a list, with its place there.")]
        #[Object]
        impl $edge {
            /// Its cursor, for `after` and `before`.
            async fn cursor(&self) -> &str {
                &self.cursor
            }

            #[doc = concat!($item, ".")]
            async fn node(&self) -> One<&$node> {
                One(&self.node)
            }
        }

        impl $connection {
            /// A page, and the number of items in the whole list.
            pub(crate) fn new<T: Into<$node>>(
                page: Page<T>,
                count: impl Future<Output = Result<u64, DbErr>> + Send + 'static,
            ) -> Self {
                let page_info = PageInfo {
                    has_next_page: page.has_next,
                    has_previous_page: page.has_previous,
                    start_cursor: page.items.first().map(|(cursor, _)| cursor.clone()),
                    end_cursor: page.items.last().map(|(cursor, _)| cursor.clone()),
                };
                let edges = page
                    .items
                    .into_iter()
                    .map(|(cursor, item)| $edge {
                        cursor,
                        node: item.into(),
                    })
                    .collect();
                Self {
                    edges,
                    page_info,
                    count: count.map_err(Arc::new).boxed().shared(),
                }
            }
        }

        #[doc = concat!("A page of ", $items, ".")]
        #[Object]
        impl $connection {
            /// The items of the page with their cursors.
            async fn edges(&self) -> Items<'_, $edge> {
                Items(self.edges.iter().collect())
            }

            /// The items of the page.
            async fn nodes(&self) -> Items<'_, $node> {
                Items(self.edges.iter().map(|edge| &edge.node).collect())
            }

            /// The position of the page in the list.
            async fn page_info(&self) -> &PageInfo {
                &self.page_info
            }

            /// Number of items in the whole list, which is counted only where this is selected.
            async fn total_count(&self) -> async_graphql::Result<i32> {
                let count = self.count.clone().await;
                count.map(int).map_err(|error| internal(&*error))
            }
        }
    };
}

connection!(ImageConnection, ImageEdge, Image, "images", "An image");
connection!(JobConnection, JobEdge, Job, "jobs", "A job");
connection!(UserConnection, UserEdge, User, "users", "A user");
connection!(HostConnection, HostEdge, Host, "hosts", "A host");
connection!(
    LedgerEntryConnection,
    LedgerEntryEdge,
    LedgerEntry,
    "a ledger",
    "A movement of credits"
);
connection!(
    AuditEntryConnection,
    AuditEntryEdge,
    AuditEntry,
    "the audit log",
    "An administrative act"
);

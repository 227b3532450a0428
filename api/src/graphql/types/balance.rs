//! A user's credits.

use async_graphql::SimpleObject;
use wharfinger_jobs::credits;

use crate::graphql::scalars::Credits;

/// A user's credits at one instant.
#[derive(SimpleObject, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Balance {
    /// What the user can still spend: total less held.
    available: Credits,
    /// Reserved by jobs that have not ended.
    held: Credits,
    /// The sum of the ledger; never negative.
    total: Credits,
}

impl From<credits::Balance> for Balance {
    fn from(balance: credits::Balance) -> Self {
        Self {
            available: balance.available().into(),
            held: balance.held.into(),
            total: balance.total.into(),
        }
    }
}

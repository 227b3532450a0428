//! A user's credits.

use async_graphql::SimpleObject;
use wharfinger_jobs::ledger;

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

impl From<ledger::Balance> for Balance {
    fn from(balance: ledger::Balance) -> Self {
        Self {
            available: balance.available().into(),
            held: balance.held.into(),
            total: balance.total.into(),
        }
    }
}

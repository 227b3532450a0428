//! A token that a user calls with.

use async_graphql::{Context, ID, Object, Result};
use wharfinger_entity::api_token;

use crate::graphql::context::caller;
use crate::graphql::ids::Kind;
use crate::graphql::scalars::DateTime;

/// A token that a user calls with. Its secret was shown once, and is kept nowhere.
#[derive(Clone)]
pub(crate) struct ApiToken(pub(crate) api_token::Model);

/// A token that a user calls with. Its secret was shown once, and is kept nowhere.
#[Object]
impl ApiToken {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::ApiToken.id(self.0.id)
    }

    /// What it is for, in the words of its user; of one that signing in made, from where.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether signing in made it. Such a token ends with another password or a ban; one with a name does not.
    async fn sign_in(&self) -> bool {
        self.0.sign_in
    }

    /// Whether it is the one of this very request.
    async fn current(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(caller(ctx)?.token.id == self.0.id)
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was last used, to the minute; null if never.
    async fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(DateTime::from)
    }

    /// When it stops working; null if never.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime::from)
    }
}

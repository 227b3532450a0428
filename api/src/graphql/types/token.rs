//! A token that authenticates a user.

use async_graphql::{Context, ID, Object, Result};
use wharfinger_entity::api_token;

use crate::graphql::context::caller;
use crate::graphql::ids::Kind;
use crate::graphql::scalars::DateTime;

/// A token that authenticates a user. Its secret was shown once, and is stored nowhere.
#[derive(Clone)]
pub(crate) struct ApiToken(pub(crate) api_token::Model);

/// A token that authenticates a user. Its secret was shown once, and is stored nowhere.
#[Object]
impl ApiToken {
    /// Its id.
    pub(crate) async fn id(&self) -> ID {
        Kind::ApiToken.id(self.0.id)
    }

    /// The purpose that its user gave; for a token from signing in, where it was made.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether signing in made it. A change of the password or a ban ends such a token; one with a name stays.
    async fn sign_in(&self) -> bool {
        self.0.sign_in
    }

    /// Whether this request was sent with it.
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

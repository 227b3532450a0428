//! Tokens for scripts.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_jobs::accounts;

use crate::graphql::context::{caller, mendable, services};
use crate::graphql::ids::Kind;
use crate::graphql::scalars::DateTime;
use crate::graphql::types::{ApiToken, UserError};

/// Tokens for scripts.
#[derive(Default)]
pub(super) struct TokenMutation;

/// A token to be made.
#[derive(InputObject)]
pub(crate) struct CreateApiTokenInput {
    /// What it is for: 1 to 100 characters.
    name: String,
    /// When it stops working; left out, never.
    expires_at: Option<DateTime>,
}

/// What came of `createApiToken`.
#[derive(SimpleObject)]
pub(crate) struct CreateApiTokenPayload {
    /// The token; null if none was made.
    api_token: Option<ApiToken>,
    /// What to send as `Authorization: Bearer …`. Shown this once, and kept nowhere; null if none was made.
    secret: Option<String>,
    /// What the caller can mend; empty when it was done.
    user_errors: Vec<UserError>,
}

/// A token to be revoked.
#[derive(InputObject)]
pub(crate) struct RevokeApiTokenInput {
    /// The token: one's own, or, for an administrator, anybody's.
    api_token_id: ID,
}

/// What came of `revokeApiToken`.
#[derive(SimpleObject)]
pub(crate) struct RevokeApiTokenPayload {
    /// What the caller can mend; empty when it was done.
    user_errors: Vec<UserError>,
}

#[Object]
impl TokenMutation {
    /// A named token for scripts. Its secret is shown once.
    async fn create_api_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What the token is for.")] input: CreateApiTokenInput,
    ) -> Result<CreateApiTokenPayload> {
        let user_id = caller(ctx)?.user.id;
        let expires_at = input.expires_at.map(|DateTime(instant)| instant);
        let made =
            accounts::create_api_token(services(ctx), user_id, &input.name, expires_at).await;
        Ok(match mendable(made)? {
            Ok((token, secret)) => CreateApiTokenPayload {
                api_token: Some(ApiToken(token)),
                secret: Some(secret),
                user_errors: Vec::new(),
            },
            Err(error) => CreateApiTokenPayload {
                api_token: None,
                secret: None,
                user_errors: vec![error.into()],
            },
        })
    }

    /// Revoke a token, at once and on every gateway; sockets that were opened with it close.
    async fn revoke_api_token(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which token.")] input: RevokeApiTokenInput,
    ) -> Result<RevokeApiTokenPayload> {
        let caller = caller(ctx)?;
        let token_id = Kind::ApiToken.parse(&input.api_token_id);
        let revoked = accounts::revoke_api_token(services(ctx), &caller.user, token_id).await;
        Ok(RevokeApiTokenPayload {
            user_errors: match mendable(revoked)? {
                Ok(()) => Vec::new(),
                Err(error) => vec![error.into()],
            },
        })
    }
}

//! API tokens, for scripts.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_jobs::accounts;

use crate::graphql::context::{caller, mendable, services};
use crate::graphql::ids::Kind;
use crate::graphql::scalars::DateTime;
use crate::graphql::types::{ApiToken, UserError};

/// API tokens, for scripts.
#[derive(Default)]
pub(super) struct TokenMutation;

/// A token to create.
#[derive(InputObject)]
pub(crate) struct CreateApiTokenInput {
    /// The purpose of the token: 1 to 100 characters.
    name: String,
    /// When it stops working. Left out, it has no end.
    expires_at: Option<DateTime>,
}

/// The result of `createApiToken`.
#[derive(SimpleObject)]
pub(crate) struct CreateApiTokenPayload {
    /// The token; null if none was created.
    api_token: Option<ApiToken>,
    /// The secret to send as `Authorization: Bearer …`. It is shown only now, and stored nowhere; null if no token was
    /// created.
    secret: Option<String>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// A token to revoke.
#[derive(InputObject)]
pub(crate) struct RevokeApiTokenInput {
    /// The token: one of the caller's own, or, for an administrator, any.
    api_token_id: ID,
}

/// The result of `revokeApiToken`.
#[derive(SimpleObject)]
pub(crate) struct RevokeApiTokenPayload {
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

#[Object]
impl TokenMutation {
    /// Create a named token for scripts. Its secret is shown once.
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

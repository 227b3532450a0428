//! Signing in and out, the password, and API tokens for scripts.

use std::net::IpAddr;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_entity::api_token;
use wharfinger_jobs::accounts::{self, SignedIn};
use wharfinger_jobs::error::{self, ServiceError, UserErrorCode};

use crate::graphql::context::{Browser, caller, outcome, problems, services};
use crate::graphql::ids::Kind;
use crate::graphql::scalars::DateTime;
use crate::graphql::types::{ApiToken, User, UserError};
use crate::http::cookie;
use crate::server::forwarded::ClientAddress;

/// Signing in and out, the password, and API tokens.
#[derive(Default)]
pub(super) struct SignInMutation;

/// A name and password to sign in with.
#[derive(InputObject)]
pub(crate) struct SignInInput {
    /// The user's name, regardless of case.
    name: String,
    /// The user's password.
    password: String,
    /// For the console in a browser: keep the token in an HttpOnly cookie, and return none, so that no script can read it.
    #[graphql(default = false)]
    cookie: bool,
}

/// The result of `signIn`.
#[derive(SimpleObject)]
pub(crate) struct SignInPayload {
    /// The token to send as `Authorization: Bearer …`; null if the name or password is wrong, and with `cookie`. It stops
    /// working after `sessions.lifetime`, at `signOut`, and when the password changes.
    token: Option<String>,
    /// The user; null if the name or password is wrong.
    user: Option<User>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// The result of `signOut`.
#[derive(SimpleObject)]
pub(crate) struct SignOutPayload {
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// A change of the password.
#[derive(InputObject)]
pub(crate) struct ChangePasswordInput {
    /// The current password.
    current: String,
    /// The new password: 8 characters or more, and hard to guess.
    new: String,
}

/// The result of `changePassword`.
#[derive(SimpleObject)]
pub(crate) struct ChangePasswordPayload {
    /// The user; null if the password was not changed.
    user: Option<User>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

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
impl SignInMutation {
    /// Exchange a name and password for a token. After a few wrong passwords for one name, or from one address, the next
    /// try has to wait, longer every time: RATE_LIMITED, with the seconds in `extensions.retryAfter`.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who signs in.")] input: SignInInput,
    ) -> Result<SignInPayload> {
        let browser = ctx.data_opt::<Browser>().copied();
        if input.cookie && !browser.is_some_and(|browser| browser.own_page) {
            return Ok(SignInPayload {
                token: None,
                user: None,
                user_errors: vec![no_cookie_here().into()],
            });
        }
        let services = services(ctx);
        let (name, password) = (&input.name, &input.password);
        let signed_in = accounts::sign_in(services, name, password, address(ctx)).await;
        say_when(ctx, &signed_in);
        let (signed_in, user_errors) = outcome::<_, SignedIn>(signed_in)?;
        let (user, mut token) = signed_in.map(|done| (User(done.user), done.secret)).unzip();
        if input.cookie
            && let Some(secret) = token.take()
        {
            let lifetime = services.settings.sessions.lifetime;
            let cookie = cookie::keep(&secret, lifetime, over_tls(browser));
            ctx.insert_http_header("set-cookie", cookie);
        }
        Ok(SignInPayload {
            token,
            user,
            user_errors,
        })
    }

    /// Revoke the token of this request, at once and on every gateway; sockets that were opened with it close.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<SignOutPayload> {
        let caller = caller(ctx)?;
        let signed_out = accounts::sign_out(services(ctx), &caller.token).await;
        let user_errors = problems(signed_out)?;
        if caller.by_cookie {
            let browser = ctx.data_opt::<Browser>().copied();
            ctx.insert_http_header("set-cookie", cookie::forget(over_tls(browser)));
        }
        Ok(SignOutPayload { user_errors })
    }

    /// Change the caller's password. Every other token from signing in is revoked; this one, and those with a name, stay.
    /// Wrong passwords make the next try wait, as with `signIn`.
    async fn change_password(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The password until now, and from now on.")] input: ChangePasswordInput,
    ) -> Result<ChangePasswordPayload> {
        let caller = caller(ctx)?;
        let change = accounts::ChangePassword {
            user: &caller.user,
            token_id: caller.token.id,
            address: address(ctx),
            current: &input.current,
            new: &input.new,
        };
        let changed = accounts::change_password(services(ctx), &change).await;
        say_when(ctx, &changed);
        let (user, user_errors) = outcome(changed)?;
        Ok(ChangePasswordPayload { user, user_errors })
    }

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
        let (made, user_errors) = outcome::<_, (api_token::Model, String)>(made)?;
        let (token, secret) = made.unzip();
        Ok(CreateApiTokenPayload {
            api_token: token.map(ApiToken),
            secret,
            user_errors,
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
        let user_errors = problems(revoked)?;
        Ok(RevokeApiTokenPayload { user_errors })
    }
}

fn address(ctx: &Context<'_>) -> Option<IpAddr> {
    ctx.data_opt::<ClientAddress>()
        .map(|ClientAddress(address)| *address)
}

fn over_tls(browser: Option<Browser>) -> bool {
    browser.is_some_and(|browser| browser.over_tls)
}

/// Sets `Retry-After` where the caller has to wait.
fn say_when<T>(ctx: &Context<'_>, result: &Result<T, ServiceError>) {
    if let Err(ServiceError::Throttled(wait)) = result {
        ctx.insert_http_header("retry-after", error::seconds(*wait).to_string());
    }
}

fn no_cookie_here() -> error::UserError {
    error::UserError::new(
        UserErrorCode::InvalidInput,
        "cookie",
        "a cookie is set only over HTTP, and for this gateway's own pages: leave it out to get a token",
    )
}

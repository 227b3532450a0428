//! Signing in and out, and changing the password.

use std::net::IpAddr;

use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use wharfinger_jobs::accounts;
use wharfinger_jobs::error::{self, ServiceError, UserErrorCode};

use crate::graphql::context::{Browser, caller, mendable, services};
use crate::graphql::types::{User, UserError};
use crate::http::cookie;
use crate::server::forwarded::ClientAddress;

/// Signing in and out, and changing the password.
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
            return Ok(SignInPayload::refused(no_cookie_here()));
        }
        let services = services(ctx);
        let (name, password) = (&input.name, &input.password);
        let signed_in = accounts::sign_in(services, name, password, address(ctx)).await;
        say_when(ctx, &signed_in);
        Ok(match mendable(signed_in)? {
            Err(error) => SignInPayload::refused(error),
            Ok(signed_in) if input.cookie => {
                let lifetime = services.settings.sessions.lifetime;
                let cookie = cookie::keep(&signed_in.secret, lifetime, over_tls(browser));
                ctx.insert_http_header("set-cookie", cookie);
                SignInPayload::done(None, User(signed_in.user))
            }
            Ok(signed_in) => SignInPayload::done(Some(signed_in.secret), User(signed_in.user)),
        })
    }

    /// Revoke the token of this request, at once and on every gateway; sockets that were opened with it close.
    async fn sign_out(&self, ctx: &Context<'_>) -> Result<SignOutPayload> {
        let caller = caller(ctx)?;
        let signed_out = accounts::sign_out(services(ctx), &caller.token).await;
        let user_errors = match mendable(signed_out)? {
            Ok(()) => Vec::new(),
            Err(error) => vec![error.into()],
        };
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
        Ok(match mendable(changed)? {
            Ok(user) => ChangePasswordPayload {
                user: Some(User(user)),
                user_errors: Vec::new(),
            },
            Err(error) => ChangePasswordPayload {
                user: None,
                user_errors: vec![error.into()],
            },
        })
    }
}

impl SignInPayload {
    fn done(token: Option<String>, user: User) -> Self {
        Self {
            token,
            user: Some(user),
            user_errors: Vec::new(),
        }
    }

    fn refused(error: error::UserError) -> Self {
        Self {
            token: None,
            user: None,
            user_errors: vec![error.into()],
        }
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

//! Authentication of the board: administrators only, by the console's session or an API token, counted as requests to the
//! gateway are.
//!
//! The board's page cannot sign in, so a browser without a session is asked by its own prompt (HTTP Basic): any name, and
//! an API token as the password. The board changes nothing, so reading is the only right that is checked.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ipnet::IpNet;
use wharfinger_entity::Role;
use wharfinger_jobs::accounts::Authenticated;
use wharfinger_jobs::services::Services;

use crate::auth::bearer::bearer_of;
use crate::auth::rate_limit::{PendingCharge, RateLimits};
use crate::auth::token_check::TokenCheck;
use crate::http::{Refusal, cookie, retry_after_seconds};
use crate::server::forwarded::client_address;

/// The challenge of a response that asks for a token.
const CHALLENGE: &str = r#"Basic realm="Wharfinger board: an administrator's API token as the password", charset="UTF-8""#;

/// Authenticates the board's callers.
#[derive(Clone)]
pub(crate) struct BoardAuth {
    pub(crate) services: Services,
    /// The gateway's own: what ends its sockets ends the board's streams.
    pub(crate) tokens: TokenCheck,
    /// The gateway's own: a request to the board counts like one to `/graphql`.
    pub(crate) rates: RateLimits,
    /// The proxies whose `X-Forwarded-Proto` is believed.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
}

impl BoardAuth {
    /// Returns the administrator who sent these headers, and resolves the pending charge of their request. Fails with the
    /// response for any other caller: 401, 403, 429 for too many requests, or 503 where the database does not answer.
    pub(super) async fn administrator(
        &self,
        headers: &HeaderMap,
        pending: Option<PendingCharge>,
    ) -> Result<Authenticated, Response> {
        let Some(token) = token(headers) else {
            return Err(challenge(
                "sign in as an administrator: any name, and an API token as the password\n",
            ));
        };
        let found = self.tokens.find(&token).await.map_err(|refusal| {
            if let Some(pending) = &pending {
                pending.cancel();
            }
            refused(&refusal)
        })?;
        // A bad token's request is charged to its address, where `pending` is dropped.
        let Some(found) = found else {
            return Err(challenge(
                "this token is not known, has expired or was revoked\n",
            ));
        };
        if let Some(pending) = pending {
            let charged = pending.charge_user(found.user.id);
            charged.map_err(|refusal| refused(&refusal))?;
        }
        if found.user.role != Role::Admin {
            let message = "only an administrator may see the board\n";
            return Err((StatusCode::FORBIDDEN, message).into_response());
        }
        Ok(found)
    }

    /// Counts a request, then returns the administrator who sent it. Fails like [`Self::administrator`].
    async fn admit(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<Authenticated, Response> {
        let address = client_address(extensions, headers, &self.trusted_proxies);
        let counted = self.rates.count(token(headers).as_deref(), address);
        let counted = counted.map_err(|refusal| refused(&refusal))?;
        self.administrator(headers, counted.pending).await
    }
}

/// Passes on requests of administrators that only read, with the administrator in their extensions.
pub(super) async fn guard(
    State(auth): State<BoardAuth>,
    mut request: Request,
    next: Next,
) -> Response {
    let admin = match auth.admit(request.extensions(), request.headers()).await {
        Ok(admin) => admin,
        Err(refusal) => return refusal,
    };
    request.extensions_mut().insert(Arc::new(admin));
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message = "the board only shows: `/graphql` is the way to change something\n";
        let allow = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, message).into_response();
    }
    next.run(request).await
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = (refusal.code.status(), format!("{refusal}\n")).into_response();
    if let Some(wait) = refusal.retry_after {
        let seconds = retry_after_seconds(wait);
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn challenge(message: &'static str) -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
    (StatusCode::UNAUTHORIZED, challenge, message).into_response()
}

/// Returns the token of a request: of its `Authorization`, else of the console's session, whose cookie reaches the board too
/// because cookies do not depend on the port.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    match bearer_of(headers) {
        Ok(Some(token)) => Some(token.to_owned()),
        Ok(None) => cookie::session(headers).map(str::to_owned),
        Err(_) => password(headers),
    }
}

/// Returns the password of HTTP Basic credentials (RFC 7617): the text after the first colon.
fn password(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = authorization.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(credentials.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (_, password) = text.split_once(':')?;
    Some(password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: header::HeaderName, value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        token(&headers)
    }

    #[test]
    fn a_token_comes_as_bearer_as_password_or_as_session() {
        let token = Some("whf_1".to_owned());
        let authorization = |value| of(header::AUTHORIZATION, value);
        assert_eq!(authorization("Bearer whf_1"), token);
        // "eve:whf_1" and ":whf_1"
        assert_eq!(authorization("Basic ZXZlOndoZl8x"), token);
        assert_eq!(authorization("basic OndoZl8x"), token);
        for other in ["whf_1", "Digest whf_1", "Basic whf_1", "Basic ZXZl"] {
            assert_eq!(authorization(other), None, "{other}");
        }
        let cookie = |value| of(header::COOKIE, value);
        assert_eq!(cookie("whf_session=whf_1"), token);
        assert_eq!(cookie("a=b; whf_session=whf_1; c=d"), token);
        assert_eq!(cookie("xwhf_session=whf_1"), None);
    }
}

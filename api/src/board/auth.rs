//! Who may see the board: administrators, by the session of the console or by a token.
//!
//! The board's page knows no signing in, so a browser without a session is asked by its own prompt (HTTP Basic): any name,
//! and an API token as the password. Nothing on the board changes anything, so it asks for no more than who is looking.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ipnet::IpNet;
use wharfinger_entity::Role;
use wharfinger_jobs::accounts::{Authenticated, Sessions, TokenLookups, note_use};
use wharfinger_jobs::services::Services;

use crate::http::cookie;

/// How a browser is asked.
const ASK: &str = r#"Basic realm="Wharfinger board: an administrator's API token as the password", charset="UTF-8""#;

/// Whom the board knows, and what of it stays open.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) services: Services,
    /// The gateway's own: what ends a socket ends a stream of the board.
    pub(crate) sessions: Sessions,
    /// The gateway's own, for tokens that it does not know.
    pub(crate) lookups: TokenLookups,
    /// Whose word counts for whether a browser came over TLS.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
}

impl Door {
    /// The administrator who sent these headers, or what to answer.
    pub(super) async fn administrator(
        &self,
        headers: &HeaderMap,
    ) -> Result<Authenticated, Response> {
        let Some(token) = token(headers) else {
            return Err(asked(
                "sign in as an administrator: any name, and an API token as the password\n",
            ));
        };
        match self.lookups.find(&token).await {
            Ok(Some(found)) => {
                note_use(&self.services, &found.token);
                if found.user.role == Role::Admin {
                    return Ok(found);
                }
                let message = "only an administrator may see the board\n";
                Err((StatusCode::FORBIDDEN, message).into_response())
            }
            Ok(None) => Err(asked(
                "this token is not known, has expired or was revoked\n",
            )),
            Err(_logged) => {
                let message = "the database does not answer: try again later\n";
                Err((StatusCode::SERVICE_UNAVAILABLE, message).into_response())
            }
        }
    }
}

/// Lets administrators look, and nobody do anything.
pub(super) async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let admin = match door.administrator(request.headers()).await {
        Ok(admin) => admin,
        Err(refusal) => return refusal,
    };
    request.extensions_mut().insert(Arc::new(admin));
    // The board's API can push raw payloads, which no worker would know what to do with.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let message = "the board only shows: `/graphql` is the way to change something\n";
        let allow = [(header::ALLOW, "GET, HEAD")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, message).into_response();
    }
    next.run(request).await
}

fn asked(message: &'static str) -> Response {
    let ask = [(header::WWW_AUTHENTICATE, ASK)];
    (StatusCode::UNAUTHORIZED, ask, message).into_response()
}

/// The token of a request: what it says itself goes before the console's session. Cookies do not tell ports apart, so that
/// reaches the board too.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, credentials) = value.to_str().ok()?.trim().split_once(' ')?;
        return if scheme.eq_ignore_ascii_case("bearer") {
            Some(credentials.trim().to_owned())
        } else if scheme.eq_ignore_ascii_case("basic") {
            password(credentials.trim())
        } else {
            None
        };
    }
    cookie::session(headers).map(str::to_owned)
}

/// The password of HTTP Basic (RFC 7617): after the first colon.
fn password(credentials: &str) -> Option<String> {
    let decoded = BASE64_STANDARD.decode(credentials).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
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

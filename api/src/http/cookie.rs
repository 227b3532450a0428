//! The console's session: a token in a cookie that scripts cannot read.

use std::time::Duration;

use axum::http::{HeaderMap, header};
use url::Url;

/// The cookie's name.
const NAME: &str = "whf_session";

/// Returns the token in the cookie.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, token)| *name == NAME && !token.is_empty())
        .map(|(_, token)| token)
}

/// Returns the `Set-Cookie` value that stores a token. With `secure`, browsers send it over TLS only.
pub(crate) fn keep(token: &str, lifetime: Duration, secure: bool) -> String {
    let (secure, seconds) = (if secure { "; Secure" } else { "" }, lifetime.as_secs());
    format!("{NAME}={token}; Path=/; HttpOnly; SameSite=Lax{secure}; Max-Age={seconds}")
}

/// Returns the `Set-Cookie` value that removes the token.
pub(crate) fn forget(secure: bool) -> String {
    keep("", Duration::ZERO, secure)
}

/// Returns whether the browser says that its page was loaded over TLS, which may end at a proxy that this server does not
/// know. Use it only for the cookie of that browser.
pub(crate) fn page_over_tls(headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN);
    let origin = origin.and_then(|origin| Url::parse(origin.to_str().ok()?).ok());
    origin.is_some_and(|origin| origin.scheme() == "https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_other_cookies() {
        let mut headers = HeaderMap::new();
        assert_eq!(session(&headers), None);
        headers.append(header::COOKIE, "a=b; xwhf_session=c".parse().unwrap());
        assert_eq!(session(&headers), None);
        headers.append(header::COOKIE, "whf_session=; q=1".parse().unwrap());
        assert_eq!(session(&headers), None);
        headers.append(header::COOKIE, "d=e;whf_session=whf_1".parse().unwrap());
        assert_eq!(session(&headers), Some("whf_1"));
    }
}

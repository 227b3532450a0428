//! Finds the token of a request: in a header, in the console's cookie, or in the payload that opens a WebSocket.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use crate::http::{ErrorCode, Refusal, cookie, same_origin};

/// Returns the token that a WebSocket is opened with: of its `connection_init` payload, else of its request's headers. Fails
/// with `UNAUTHENTICATED` where there is none, or it is not of the form `Bearer …`.
pub(crate) fn offered<'a>(
    payload: &'a Map<String, Value>,
    headers: &'a HeaderMap,
) -> Result<&'a str, Refusal> {
    let in_payload = payload
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if let Some((_, value)) = in_payload {
        return value.as_str().and_then(bearer).ok_or_else(malformed);
    }
    if let Some(token) = bearer_of(headers)? {
        return Ok(token);
    }
    // Browsers open sockets for other sites' pages, with cookies and without a preflight.
    let session = cookie::session(headers).filter(|_| same_origin(headers));
    let why = "send {\"authorization\": \"Bearer …\"} as the payload of connection_init";
    session.ok_or_else(|| Refusal::new(ErrorCode::Unauthenticated, why))
}

/// Returns the bearer token of a request, `None` without an `Authorization` header. Fails with `UNAUTHENTICATED` for another
/// kind of authorization.
pub(crate) fn bearer_of(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(bearer);
    token.map(Some).ok_or_else(malformed)
}

/// Returns the token that a request is counted by, good or not: of its header, else of its cookie.
pub(crate) fn any_token(headers: &HeaderMap) -> Option<&str> {
    let token = bearer_of(headers).unwrap_or_default();
    token.or_else(|| cookie::session(headers))
}

/// Returns the token of an `Authorization` header (RFC 6750, 2.1; the scheme's case does not matter, RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn malformed() -> Refusal {
    let why = "the authorization is not of the form `Bearer …`";
    Refusal::new(ErrorCode::Unauthenticated, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_a_bearer_token_has_any_case() {
        assert_eq!(bearer("Bearer whf_1"), Some("whf_1"));
        assert_eq!(bearer("bearer  whf_1 "), Some("whf_1"));
        for other in ["", "whf_1", "Bearer", "Bearer ", "Basic whf_1"] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }
}

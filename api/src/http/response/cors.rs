//! Other sites whose pages may use the API, by their origins (RFC 6454).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use url::Url;

use crate::http::authenticator::same_origin;

/// How long a browser may cache the response to a preflight.
const MAX_AGE: Duration = Duration::from_mins(10);

/// Headers that pages may read.
const EXPOSED: [HeaderName; 4] = [
    header::ETAG,
    header::RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
];

/// The origins whose pages may send requests with a token, read the responses, and open sockets. None by default.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins(Vec<HeaderValue>);

impl AllowedOrigins {
    /// Parses exact origins, such as `https://console.example`, without wildcards. Fails with the first text that is none.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let origins = texts.iter().map(|text| origin(text).ok_or(text.clone()));
        origins.collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether a request is from a page of this server or of an allowed origin, or from no browser.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let origin = headers.get(header::ORIGIN);
        same_origin(headers) || origin.is_some_and(|origin| self.0.contains(origin))
    }

    /// Returns the layer that answers preflights and lets allowed pages read; `None` where no origin is allowed. It never
    /// allows credentials: other sites' pages bring a token of their own, and the console's cookie is the console's alone.
    pub(crate) fn layer(&self) -> Option<CorsLayer> {
        if self.0.is_empty() {
            return None;
        }
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.0.iter().cloned()))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(MAX_AGE);
        Some(layer)
    }
}

/// Parses an origin as browsers write it: in lower case, without a default port.
fn origin(text: &str) -> Option<HeaderValue> {
    let url = Url::parse(text).ok()?;
    let origin = url.origin().ascii_serialization();
    let bare = matches!(url.scheme(), "http" | "https") && *url.as_str() == format!("{origin}/");
    let origin = Some(origin).filter(|_| bare && !text.contains('*'))?;
    HeaderValue::try_from(origin).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(texts: &[&str]) -> Result<AllowedOrigins, String> {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        AllowedOrigins::parse(&texts)
    }

    #[test]
    fn only_whole_origins_can_be_allowed() {
        let origins = allowed(&["https://Console.Example:443", "http://localhost:3000/"]).unwrap();
        assert_eq!(
            origins.0,
            ["https://console.example", "http://localhost:3000"]
        );
        for other in [
            "*",
            "null",
            "console.example",
            "https://*.example",
            "https://a.example/path",
            "https://a.example/?q",
            "https://a.example/#f",
            "https://u@a.example",
            "ftp://a.example",
            "file:///tmp",
            "",
        ] {
            assert_eq!(allowed(&[other]).unwrap_err(), other);
        }
    }

    #[test]
    fn other_origins_are_not_admitted() {
        let origins = allowed(&["https://console.example"]).unwrap();
        for (origin, expected) in [
            (None, true),
            (Some("http://wharf.example:8080"), true),
            (Some("https://console.example"), true),
            (Some("http://console.example"), false),
            (Some("https://console.example:8443"), false),
            (Some("https://console.example.evil.example"), false),
            (Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("wharf.example:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(origins.admit(&headers), expected, "{origin:?}");
        }
        assert!(AllowedOrigins::default().layer().is_none());
    }
}

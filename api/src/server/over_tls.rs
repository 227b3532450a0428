//! Whether a request came over TLS, which may end here or at a reverse proxy.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use crate::server::client_address::from_proxy;

/// One year, for this host alone: other hosts of its domain are not ours to decide about.
const STRICT: &str = "max-age=31536000";

/// Marks the requests of a listener that speaks TLS itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encrypted;

/// Returns whether the client's connection is encrypted: it is our own TLS, or a trusted proxy says so in
/// `X-Forwarded-Proto`. Of several values the last one is the trusted proxy's.
pub(crate) fn over_tls(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    if extensions.get::<Encrypted>().is_some() {
        return true;
    }
    let said = headers.get_all("x-forwarded-proto").iter().next_back();
    let last = said.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    let https = last.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
    https && from_proxy(extensions, trusted)
}

/// Adds `Strict-Transport-Security` to responses over TLS, and to no others (HSTS; RFC 6797, 7.2).
pub(crate) async fn strict_transport(
    State(trusted): State<Arc<[IpNet]>>,
    request: Request,
    next: Next,
) -> Response {
    let strict = over_tls(request.extensions(), request.headers(), &trusted);
    let mut response = next.run(request).await;
    if strict {
        let headers = response.headers_mut();
        let value = HeaderValue::from_static(STRICT);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;

    use super::*;

    fn seen(peer: &str, said: &[&'static str]) -> bool {
        let mut extensions = Extensions::new();
        let peer: SocketAddr = peer.parse().unwrap();
        extensions.insert(ConnectInfo(peer));
        let mut headers = HeaderMap::new();
        for value in said {
            headers.append("x-forwarded-proto", HeaderValue::from_static(value));
        }
        over_tls(&extensions, &headers, &["10.0.0.0/8".parse().unwrap()])
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        assert!(seen("10.0.0.1:1", &["https"]));
        assert!(seen("[::ffff:10.0.0.1]:1", &["HTTPS"]));
        assert!(!seen("192.0.2.1:1", &["https"]));
        assert!(!seen("10.0.0.1:1", &[]));
        // The first value came from the client.
        assert!(!seen("10.0.0.1:1", &["https, http"]));
        assert!(!seen("10.0.0.1:1", &["https", "http"]));
        assert!(seen("10.0.0.1:1", &["http", "https"]));
    }

    #[test]
    fn our_own_tls_needs_no_header() {
        let mut extensions = Extensions::new();
        assert!(!over_tls(&extensions, &HeaderMap::new(), &[]));
        extensions.insert(Encrypted);
        assert!(over_tls(&extensions, &HeaderMap::new(), &[]));
    }
}

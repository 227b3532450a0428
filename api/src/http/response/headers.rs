//! Layers that add security headers to responses, or compress them.

use axum::Router;
use axum::http::HeaderValue;
use axum::response::Response;
use tower::util::MapResponseLayer;
use tower_http::compression::{
    CompressionLayer,
    predicate::{NotForContentType, Predicate as _, SizeAbove},
};

/// The policy of pages: everything from this host only. The editor of the playground sets inline styles.
const PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// The policy of other responses, should a browser take one for a page: it shows nothing, runs nothing and is in no frame.
const NO_PAGE: &str =
    "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A layer that adds security headers. A header that is already there stays: a page has a policy of its own.
type SecurityHeaders = MapResponseLayer<fn(Response) -> Response>;

/// The security headers of pages and what they load.
pub const PAGE_HEADERS: SecurityHeaders = MapResponseLayer::new(|response| protect(response, PAGE));

/// The security headers of everything else, errors and unknown paths included.
pub const ANSWER_HEADERS: SecurityHeaders =
    MapResponseLayer::new(|response| protect(response, NO_PAGE));

/// Compresses responses of these routes of at least `min_size` bytes with `br`, `zstd` or `gzip`, for clients that accept it;
/// 0 compresses none. Streams of events are not compressed, because an event is short and has to leave at once.
pub fn compress(routes: Router, min_size: u64) -> Router {
    if min_size == 0 {
        return routes;
    }
    let worth_it = SizeAbove::new(min_size).and(NotForContentType::SSE);
    routes.layer(CompressionLayer::new().compress_when(worth_it))
}

fn protect(mut response: Response, policy: &'static str) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        // Other sites' pages may not embed it, not even as an image or script. CORS is not affected.
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let value = HeaderValue::from_static(value);
        headers.entry(name).or_insert(value);
    }
    response
}

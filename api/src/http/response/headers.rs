//! Security headers of responses.

use std::task::{Context, Poll};

use axum::{
    http::{HeaderName, HeaderValue, Request, header},
    response::Response,
};
use futures::future::{MapOk, TryFutureExt as _};
use tower::{Layer, Service};

/// The policy of pages: everything from this host only. Inline styles are allowed because the editor of the playground sets
/// them.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// The policy of other responses, should a browser take one for a page: it shows nothing, runs nothing and is in no frame.
const NO_PAGE: &str =
    "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A layer that adds security headers. A header that is already there stays: a page has a policy of its own.
#[derive(Debug, Clone, Copy)]
pub struct SecurityHeaders {
    protect: fn(Response) -> Response,
}

impl SecurityHeaders {
    /// For pages and what they load.
    pub const PAGES: Self = Self {
        protect: |answer| protect(answer, CONTENT_SECURITY_POLICY),
    };
    /// For everything else, errors and unknown paths included.
    pub const ANSWERS: Self = Self {
        protect: |answer| protect(answer, NO_PAGE),
    };
}

impl<S> Layer<S> for SecurityHeaders {
    type Service = WithSecurityHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let protect = self.protect;
        WithSecurityHeaders { inner, protect }
    }
}

/// The service that [`SecurityHeaders`] makes.
#[derive(Debug, Clone)]
pub struct WithSecurityHeaders<S> {
    inner: S,
    protect: fn(Response) -> Response,
}

impl<S, B> Service<Request<B>> for WithSecurityHeaders<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = MapOk<S::Future, fn(Response) -> Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(request).map_ok(self.protect)
    }
}

fn protect(mut response: Response, policy: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        // Other sites' pages may not embed it, not even as an image or script. CORS is not affected.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(policy));
    response
}

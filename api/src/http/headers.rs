//! Headers that keep a browser from doing with our pages what they are not for.

use std::task::{Context, Poll};

use axum::{
    http::{HeaderName, HeaderValue, Request, header},
    response::Response,
};
use futures::future::{FutureExt, Map};
use tower::{Layer, Service};

/// Everything from this host only. Styles may be inline: the editor of the playground sets them as it draws.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'";

/// A layer for pages and their assets. A header that the page set itself stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct SecurityHeaders;

impl<S> Layer<S> for SecurityHeaders {
    type Service = WithSecurityHeaders<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithSecurityHeaders { inner }
    }
}

/// The service that [`SecurityHeaders`] makes.
#[derive(Debug, Clone)]
pub struct WithSecurityHeaders<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for WithSecurityHeaders<S>
where
    S: Service<Request<B>, Response = Response>,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Map<S::Future, fn(Result<Response, S::Error>) -> Result<Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.inner.call(request).map(|result| result.map(protect))
    }
}

fn protect(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

//! The span of a request to a registry or its token service.

use reqwest::{RequestBuilder, Response};
use tracing::Instrument as _;
use url::Url;

use crate::infra::trace;

/// Sends a request under a span of its own, where it is part of a trace. Of the URL only the server is told: paths of
/// redirects and queries may be secrets.
pub(super) async fn send(request: RequestBuilder, url: &Url) -> Result<Response, reqwest::Error> {
    let template = if url.path().contains("/manifests/") {
        "/v2/{name}/manifests/{reference}"
    } else if url.path().contains("/blobs/") {
        "/v2/{name}/blobs/{digest}"
    } else {
        ""
    };
    let span = trace::call("GET", template);
    if !span.is_disabled() {
        span.record("server.address", url.host_str().unwrap_or_default());
        if let Some(port) = url.port_or_known_default() {
            span.record("server.port", port);
        }
    }
    let answer = request.send().instrument(span.clone()).await;
    match &answer {
        Ok(response) => {
            let status = response.status();
            span.record("http.response.status_code", status.as_u16());
            if status.is_client_error() || status.is_server_error() {
                trace::failed(&span, status.as_str());
            }
        }
        Err(error) if error.is_timeout() => trace::failed(&span, "timeout"),
        Err(error) if error.is_connect() => trace::failed(&span, "connect"),
        Err(_) => trace::failed(&span, "http"),
    }
    answer
}

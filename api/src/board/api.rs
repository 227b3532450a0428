//! apalis-board's own routes, built for each request: apalis-board knows only the queues that it was built with, and hosts
//! come and go. Inside, every host's queue has the same name, because a host's own name may not fit into a path.

use apalis_board_api::framework::{ApiBuilder, RegisterRoute};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tower::ServiceExt as _;
use wharfinger_entity::host;
use wharfinger_jobs::hosts;
use wharfinger_jobs::services::Services;

use super::backend::Backend;

/// The name that the requested queue has inside.
const ASKED_FOR: &str = "asked-for";

/// Answers requests about all queues.
pub(super) async fn of_all(
    State(services): State<Services>,
    Path(path): Path<String>,
    request: Request,
) -> Response {
    answer(services, None, &format!("/{path}"), request).await
}

/// Answers requests about one queue.
pub(super) async fn of_queue(
    State(services): State<Services>,
    Path((queue, rest)): Path<(String, String)>,
    request: Request,
) -> Response {
    match hosts::named(services.db.read(), &queue).await {
        Ok(Some(host)) => {
            let path = format!("/queues/{ASKED_FOR}/{rest}");
            answer(services, Some(host), &path, request).await
        }
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(%error, "could not look for a queue");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn answer(
    services: Services,
    host: Option<host::Model>,
    path: &str,
    request: Request,
) -> Response {
    let query = without_empty(request.uri().query().unwrap_or_default());
    let Ok(uri) = Uri::try_from(format!("{path}?{query}")) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Without the extensions: the inner routes would take the outer ones' path parameters for theirs.
    let (outer, body) = request.into_parts();
    let mut request = Request::new(body);
    *request.method_mut() = outer.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = outer.headers;
    let (builder, backend) = (ApiBuilder::new(Router::new()), Backend::new(services, host));
    let builder = RegisterRoute::<Backend, Value>::register(builder, ASKED_FOR, backend);
    let routes: Router = builder.build();
    let mut answer = match routes.oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let fresh = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, fresh);
    answer
}

/// Returns the query without empty parameters, which the page sends and apalis-board's API would refuse.
fn without_empty(query: &str) -> String {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.ends_with('='))
        .collect::<Vec<_>>()
        .join("&")
}

#[cfg(test)]
mod tests {
    #[test]
    fn empty_parameters_are_left_out() {
        let query = "&page=1&page_size=15&queue=&status=";
        assert_eq!(super::without_empty(query), "page=1&page_size=15");
    }
}

//! apalis-board, the page of the queues, for administrators, on a listener of its own.
//!
//! A request passes [`auth`] (administrators only, within the limits of requests, and only to read), then either the page that
//! apalis-board brings along, or [`api`], the routes that the page reads, which ask the jobs table and not the queue. [`events`]
//! streams the jobs' changes of state.

mod api;
pub(crate) mod auth;
mod events;
mod page;
mod tasks;

use std::sync::Arc;

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router, middleware};
use tokio_util::sync::CancellationToken;

use crate::http::ANSWER_HEADERS;
use crate::server::forwarded::strict_transport;

pub(crate) use self::auth::BoardAuth;

/// Returns the board's routes. Cancelling `stop` ends its streams.
pub(crate) fn router(auth: BoardAuth, stop: CancellationToken) -> Router {
    let events = {
        let auth = auth.clone();
        move |Extension(admin), headers| events::stream(auth, admin, headers, stop)
    };
    let trusted = Arc::clone(&auth.trusted_proxies);
    let policy = page::content_security_policy();
    let with_policy = move |mut response: Response| {
        let policy = policy.clone();
        async move {
            let headers = response.headers_mut();
            headers.entry(CONTENT_SECURITY_POLICY).or_insert(policy);
            response
        }
    };
    Router::new()
        .route("/api/v1/events", get(events))
        .nest("/api/v1", api::routes())
        .with_state(auth.services.clone())
        .fallback_service(apalis_board_api::ui::ServeUI::new())
        .layer(middleware::map_response(with_policy))
        .layer(middleware::from_fn_with_state(auth, auth::guard))
        .layer(ANSWER_HEADERS)
        .layer(middleware::from_fn_with_state(trusted, strict_transport))
}

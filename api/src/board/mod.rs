//! apalis-board, for administrators: the page of the queues on a listener of its own.
//!
//! A request passes [`door`] (administrators only, and only to look), then either the page that apalis-board brings along
//! or [`api`], apalis-board's own routes over [`backend`]: what it shows is read from the jobs table, in both shapes and
//! whatever the queue has at the moment. [`events`] is the stream of what happens.

mod api;
pub(crate) mod auth;
mod backend;
mod events;
mod page;
mod push;

use std::sync::Arc;

use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Extension, Router, middleware};
use tokio_util::sync::CancellationToken;

use crate::http::SecurityHeaders;
use crate::server::over_tls::strict_transport;

pub(crate) use self::auth::Door;

/// The board's routes. `stop` ends its streams.
pub(crate) fn router(door: Door, stop: CancellationToken) -> Router {
    let events = {
        let door = door.clone();
        move |Extension(admin), headers| events::stream(door, admin, headers, stop)
    };
    let trusted = Arc::clone(&door.trusted_proxies);
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
        .route("/api/v1/queues/{queue}/{*rest}", any(api::of_queue))
        .route("/api/v1/{*path}", any(api::of_all))
        .with_state(door.services.clone())
        .fallback_service(apalis_board_api::ui::ServeUI::new())
        .layer(middleware::map_response(with_policy))
        .layer(middleware::from_fn_with_state(door, auth::guard))
        .layer(SecurityHeaders::ANSWERS)
        .layer(middleware::from_fn_with_state(trusted, strict_transport))
}

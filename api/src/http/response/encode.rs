//! Encodes responses as JSON, and adds the headers that every response has.

use async_graphql::{Response as GraphqlResponse, ServerError};
use axum::{
    body::Body as HttpBody,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use super::error::{ErrorCode, give_codes, is_request_error};
use super::size_limit;
use crate::http::request::negotiation::MediaType;

/// Returns the HTTP response of an executed operation, with at most `most` bytes (0: no limit).
pub(crate) fn executed(media: MediaType, mut response: GraphqlResponse, most: usize) -> Response {
    give_codes(&mut response.errors);
    let headers = std::mem::take(&mut response.http_headers);
    let status = match media {
        MediaType::GraphqlResponse if is_request_error(&response) => response
            .errors
            .first()
            .and_then(ErrorCode::of)
            .unwrap_or(ErrorCode::BadRequest)
            .status(),
        _ => StatusCode::OK,
    };
    let mut answer = respond(media, status, encode(response, most, most));
    answer.headers_mut().extend(headers);
    answer
}

/// Encodes a response in at most `left` of `most` bytes (0: no limit). A longer one becomes an error.
pub(crate) fn encode(mut response: GraphqlResponse, left: usize, most: usize) -> Vec<u8> {
    give_codes(&mut response.errors);
    if is_request_error(&response) {
        return encode_errors(response.errors);
    }
    size_limit::encode(&response, left)
        .unwrap_or_else(|| encode(size_limit::refuse(response, most), 0, most))
}

/// Encodes the errors of a request that was not executed. Its JSON must not have a `data` entry.
pub(crate) fn encode_errors(mut errors: Vec<ServerError>) -> Vec<u8> {
    give_codes(&mut errors);
    serde_json::to_vec(&serde_json::json!({ "errors": errors }))
        .expect("GraphQL errors are always JSON")
}

/// Returns an HTTP response that is for the caller alone.
pub(crate) fn respond(media: MediaType, status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(HttpBody::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    private(headers);
    response
}

/// Adds the headers of every response: one user's data must not reach another from a cache on the way.
pub(crate) fn private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

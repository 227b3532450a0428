//! Responses as JSON, and what every answer carries.

use async_graphql::{Response as GraphqlResponse, ServerError};
use axum::{
    body::Body as HttpBody,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};

use super::error::{ErrorCode, give_codes, is_request_error};
use super::size_limit;
use crate::http::request::negotiation::MediaType;

/// The answer to an operation that was executed.
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

/// A response as JSON of so many bytes as are `left` of the `most` that there may be (0: any number). Of one that is longer,
/// the error in its place.
pub(crate) fn encode(mut response: GraphqlResponse, left: usize, most: usize) -> Vec<u8> {
    give_codes(&mut response.errors);
    if is_request_error(&response) {
        return encode_errors(response.errors);
    }
    size_limit::encode(&response, left)
        .unwrap_or_else(|| encode(size_limit::refuse(response, most), 0, most))
}

/// The response to a request that did not execute, as JSON: it must not have a `data` entry.
pub(crate) fn encode_errors(mut errors: Vec<ServerError>) -> Vec<u8> {
    give_codes(&mut errors);
    serde_json::to_vec(&serde_json::json!({ "errors": errors }))
        .expect("GraphQL errors are always JSON")
}

/// An answer with a body that is for nobody but the caller.
pub(crate) fn respond(media: MediaType, status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(HttpBody::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    private(headers);
    response
}

/// What every answer carries: what one user sees must not reach another from a cache on the way.
pub(crate) fn private(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

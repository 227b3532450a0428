//! Encodes responses as JSON, and adds the headers that every response has.

use std::borrow::Cow;

use async_graphql::{Response as GraphqlResponse, ServerError};
use axum::body::Body;
use axum::extract::ws::Utf8Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::error::{ErrorCode, give_codes, is_request_error};
use super::size_limit;
use crate::http::request::negotiation::MediaType;

/// Returns the HTTP response of an executed operation, with at most `most` bytes (0: no limit).
pub(crate) fn executed(media: MediaType, mut response: GraphqlResponse, most: usize) -> Response {
    let headers = std::mem::take(&mut response.http_headers);
    let status = match media {
        MediaType::GraphqlResponse if is_request_error(&response) => {
            let code = response.errors.first().and_then(ErrorCode::of);
            code.unwrap_or(ErrorCode::BadRequest).status()
        }
        _ => StatusCode::OK,
    };
    let mut answer = respond(media, status, encode(response, most, most));
    answer.headers_mut().extend(headers);
    answer
}

/// Encodes a response in at most `left` of `most` bytes (0: no limit). A longer one becomes an error.
pub(crate) fn encode(mut response: GraphqlResponse, left: usize, most: usize) -> Vec<u8> {
    if is_request_error(&response) {
        return encode_errors(response.errors);
    }
    give_codes(&mut response.errors);
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
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media.content_type());
    private(headers);
    response
}

/// Adds the headers of every response: one user's data must not reach another from a cache on the way.
pub(crate) fn private(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A response as subscribers get it, encoded once for all who share it. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A result: `{"data": …}`, with errors where there are any.
    Result(Utf8Bytes),
    /// The errors of a request that was never executed: `[…]`.
    Errors(Utf8Bytes),
}

impl Payload {
    /// Encodes a response in at most `most` bytes (0: no limit). Fails with the error that replaces a longer one.
    pub(crate) fn within(mut response: GraphqlResponse, most: usize) -> Result<Self, Self> {
        give_codes(&mut response.errors);
        let encoded = if is_request_error(&response) {
            size_limit::encode(&response.errors, most).map(|json| Self::Errors(text(json)))
        } else {
            size_limit::encode(&response, most).map(|json| Self::Result(text(json)))
        };
        encoded.ok_or_else(|| size_limit::refuse(response, most).into())
    }

    /// Returns its length in bytes.
    pub(crate) fn len(&self) -> usize {
        let (Self::Result(text) | Self::Errors(text)) = self;
        text.len()
    }

    /// Returns the whole response as JSON.
    pub(crate) fn response_text(&self) -> Cow<'_, str> {
        match self {
            Self::Result(text) => Cow::Borrowed(text),
            Self::Errors(errors) => Cow::Owned(format!("{{\"errors\":{errors}}}")),
        }
    }
}

impl From<GraphqlResponse> for Payload {
    fn from(response: GraphqlResponse) -> Self {
        let (Ok(payload) | Err(payload)) = Self::within(response, 0);
        payload
    }
}

fn text(json: Vec<u8>) -> Utf8Bytes {
    Utf8Bytes::from(String::from_utf8(json).expect("JSON is UTF-8"))
}

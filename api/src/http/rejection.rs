//! Requests that are answered without being executed.

use async_graphql::{ServerError, parser::types::OperationType};
use axum::{
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};

use super::response::error::{ErrorCode, Refusal};
use super::response::quota;
use crate::http::document::persisted::NoDocument;
use crate::http::request::negotiation::MediaType;
use crate::http::response::encode::{encode_errors, respond};

/// Why a request was answered without being executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("the method {0} is not allowed here: use POST, or GET for a query")]
    Method(Method),
    #[error("a {0} cannot be sent with GET: use POST")]
    NotAQuery(OperationType),
    #[error(
        "Accept has none of the supported types: application/graphql-response+json, application/json, text/event-stream"
    )]
    NotAcceptable,
    #[error(
        "the Content-Type must be application/json in UTF-8. What a form can send (text/plain, application/x-www-form-urlencoded, none) is read only beside a header GraphQL-Require-Preflight: 1"
    )]
    ContentType,
    #[error("the body must be sent as it is, without Content-Encoding")]
    ContentEncoding,
    #[error("the request body is longer than {0} bytes")]
    TooLong(usize),
    #[error("a batch has at most {0} requests")]
    BatchTooLong(usize),
    #[error("the results of a batch cannot be sent as events")]
    StreamedBatch,
    #[error("the request body could not be read")]
    Broken,
    #[error("the request body did not come in time")]
    TooSlow,
    #[error("batches are not supported: send one request object at a time")]
    Batch,
    #[error("the batch is empty")]
    EmptyBatch,
    #[error("the request body is empty: send a JSON object with a \"query\"")]
    Empty,
    #[error("the request is not a JSON object with a string \"query\": {0}")]
    Json(#[from] serde_json::Error),
    /// A parameter of a query string or form.
    #[error("the parameter {name:?} is not a JSON object: {source}")]
    Parameter {
        name: &'static str,
        source: serde_json::Error,
    },
    #[error(transparent)]
    NoDocument(#[from] NoDocument),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Document(ServerError),
}

impl Rejection {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::TooLong(_) | Self::BatchTooLong(_) => ErrorCode::LimitExceeded,
            Self::NoDocument(NoDocument::NotTrusted) => ErrorCode::Forbidden,
            Self::Document(error) => ErrorCode::of(error).unwrap_or(ErrorCode::BadRequest),
            _ => ErrorCode::BadRequest,
        }
    }

    fn status(&self, media: MediaType) -> StatusCode {
        match (self, media) {
            (Self::Method(_) | Self::NotAQuery(_), _) => StatusCode::METHOD_NOT_ALLOWED,
            (Self::NotAcceptable, _) => StatusCode::NOT_ACCEPTABLE,
            (Self::ContentType | Self::ContentEncoding, _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            (Self::TooLong(_), _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Self::TooSlow, _) => StatusCode::REQUEST_TIMEOUT,
            (rejection, MediaType::Json) if rejection.is_of_document() => StatusCode::OK,
            _ => self.code().status(),
        }
    }

    /// Returns whether the request is well-formed and its document is at fault. Apollo's clients expect the same response
    /// for an unknown hash.
    pub(crate) fn is_of_document(&self) -> bool {
        matches!(
            self,
            Self::Document(_) | Self::NoDocument(NoDocument::NotFound | NoDocument::NotSupported)
        )
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name, value| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        match self {
            Self::Method(_) => set(header::ALLOW, "GET, HEAD, POST"),
            Self::NotAQuery(_) => set(header::ALLOW, "POST"),
            Self::ContentEncoding => set(header::ACCEPT_ENCODING, "identity"),
            Self::Refused(refusal) => refusal_headers(refusal, &mut headers),
            _ => {}
        }
        headers
    }

    /// Returns the GraphQL errors.
    pub(crate) fn into_errors(self) -> Vec<ServerError> {
        let code = self.code();
        match self {
            Self::Document(error) => vec![error],
            Self::NoDocument(reason) => vec![reason.into_error()],
            other => Refusal::new(code, other.to_string()).into_response().errors,
        }
    }
}

/// Returns the response to a rejected request.
pub(crate) fn rejected(media: MediaType, rejection: Rejection) -> Response {
    let status = rejection.status(media);
    let headers = rejection.headers();
    let mut answer = respond(media, status, encode_errors(rejection.into_errors()));
    answer.headers_mut().extend(headers);
    answer
}

fn refusal_headers(refusal: &Refusal, headers: &mut HeaderMap) {
    if refusal.code == ErrorCode::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(wait) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(quota::seconds(wait)));
    }
    if let Some(quota) = &refusal.quota {
        quota.write(headers);
    }
}

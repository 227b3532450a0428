//! The codes of request errors, and what each means as a status.

use std::time::Duration;

use async_graphql::{Response, ServerError, Value};
use axum::http::StatusCode;

use super::quota::Quota;

/// `extensions.code` of a GraphQL error: what went wrong with the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Nobody is signed in, or the token is not valid.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// The request cannot be understood; sending it again will not help.
    BadRequest,
    /// Too many requests; later ones will be let in.
    RateLimited,
    /// The request is larger than a limit allows.
    LimitExceeded,
    /// A part that the request needs does not answer now.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// The code as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::BadRequest => "BAD_REQUEST",
            Self::RateLimited => "RATE_LIMITED",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// The HTTP status of a request that was refused as a whole for this reason.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::BadRequest | Self::LimitExceeded => StatusCode::BAD_REQUEST,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The code that an error carries, if it is one of these.
    pub fn of(error: &ServerError) -> Option<Self> {
        let Some(Value::String(code)) = error.extensions.as_ref()?.get("code") else {
            return None;
        };
        [
            Self::Unauthenticated,
            Self::Forbidden,
            Self::BadRequest,
            Self::RateLimited,
            Self::LimitExceeded,
            Self::Unavailable,
            Self::Internal,
        ]
        .into_iter()
        .find(|known| known.as_str() == code)
    }
}

/// A request, connection or operation that is not let in.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people. It goes to the client.
    pub message: String,
    /// When trying again makes sense (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// What is left of the caller's quota, where it is about that.
    pub quota: Option<Quota>,
}

impl Refusal {
    /// A refusal without a time to come back.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            quota: None,
        }
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Says what is left of the caller's quota.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        self.quota = Some(quota);
        self
    }

    /// The refusal as a GraphQL response without data.
    pub(crate) fn into_response(self) -> Response {
        Response::from_errors(vec![self.into_error()])
    }

    /// The refusal as a GraphQL error.
    pub(crate) fn into_error(self) -> ServerError {
        let mut error = ServerError::new(self.message, None);
        error
            .extensions
            .get_or_insert_default()
            .set("code", self.code.as_str());
        error
    }
}

/// Whether the response is of a request that never began to execute (GraphQL specification, 7.1.2 "Request
/// errors"): it has no data, and no error points at a field. Such a response carries no `data` entry.
pub(crate) fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Marks the errors that parsing, validation and the reading of arguments made with `BAD_REQUEST`: async-graphql gives
/// them no code, and finds an `Int` out of range only when its field is resolved.
pub(crate) fn give_codes(errors: &mut [ServerError]) {
    for error in errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", ErrorCode::BadRequest.as_str());
        }
    }
}

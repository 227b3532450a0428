//! The codes of request errors, and their statuses.

use std::time::Duration;

use async_graphql::{Response, ServerError, Value, from_value, to_value};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::quota::Quota;

/// `extensions.code` of a GraphQL error about the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The caller is not signed in, or the token is not good.
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// The request cannot be understood; sending it again will not help.
    BadRequest,
    /// Too many requests. Later ones are admitted.
    RateLimited,
    /// The request exceeds a limit.
    LimitExceeded,
    /// A part that the request needs does not answer.
    Unavailable,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// Returns the HTTP status of a request that was refused as a whole.
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

    /// Returns the code of an error; `None` where it has none of these.
    pub fn of(error: &ServerError) -> Option<Self> {
        let code = error.extensions.as_ref()?.get("code")?;
        from_value(code.clone()).ok()
    }
}

impl From<ErrorCode> for Value {
    /// The code as clients see it.
    fn from(code: ErrorCode) -> Self {
        to_value(code).expect("a variant without fields is a string")
    }
}

/// The refusal of a request, connection or operation.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason, for programs.
    pub code: ErrorCode,
    /// The reason, for people. It goes to the client.
    pub message: String,
    /// When to try again (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The rest of the caller's quota, for `RATE_LIMITED`.
    pub quota: Option<Quota>,
}

impl Refusal {
    /// A refusal without a time to try again.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            quota: None,
        }
    }

    /// Sets the time after which to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns the refusal as a GraphQL response without data.
    pub(crate) fn into_response(self) -> Response {
        Response::from_errors(vec![self.into_error()])
    }

    /// Returns the refusal as a GraphQL error.
    pub(crate) fn into_error(self) -> ServerError {
        coded(self.message, self.code)
    }
}

/// Returns a GraphQL error with this code.
pub(crate) fn coded(message: String, code: impl Into<Value>) -> ServerError {
    let mut error = ServerError::new(message, None);
    error.extensions.get_or_insert_default().set("code", code);
    error
}

/// Returns whether a response is of a request that was never executed (GraphQL specification, 7.1.2 "Request errors"): it
/// has no data, and no error has a path. Such a response has no `data` entry.
pub(crate) fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Adds `BAD_REQUEST` to errors of parsing, validation and arguments, to which async-graphql gives no code. It finds an
/// `Int` out of range only when it resolves the field.
pub(crate) fn give_codes(errors: &mut [ServerError]) {
    for error in errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", ErrorCode::BadRequest);
        }
    }
}

//! A response as clients get it, encoded once for all who share it.

use std::borrow::Cow;

use async_graphql::Response;
use axum::extract::ws::Utf8Bytes;

use super::error::{give_codes, is_request_error};
use super::size_limit::{encode, refuse};

/// An encoded response. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A result: `{"data": …}`, with errors where there are any.
    Result(Utf8Bytes),
    /// The errors of a request that was never executed: `[…]`.
    Errors(Utf8Bytes),
}

impl Payload {
    /// Returns its length in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Result(text) | Self::Errors(text) => text.len(),
        }
    }

    /// Returns the whole response as JSON.
    pub(crate) fn response_text(&self) -> Cow<'_, str> {
        match self {
            Self::Result(text) => Cow::Borrowed(text),
            Self::Errors(errors) => Cow::Owned(format!("{{\"errors\":{errors}}}")),
        }
    }
}

impl Payload {
    /// Encodes a response in at most `most` bytes (0: no limit). Fails with the error that replaces a longer one.
    pub(crate) fn within(mut response: Response, most: usize) -> Result<Self, Self> {
        give_codes(&mut response.errors);
        let is_request_error = is_request_error(&response);
        let encoded = if is_request_error {
            encode(&response.errors, most)
        } else {
            encode(&response, most)
        };
        match encoded {
            Some(errors) if is_request_error => Ok(Self::Errors(text(errors))),
            Some(result) => Ok(Self::Result(text(result))),
            None => Err(refuse(response, most).into()),
        }
    }
}

impl From<Response> for Payload {
    fn from(response: Response) -> Self {
        let (Ok(payload) | Err(payload)) = Self::within(response, 0);
        payload
    }
}

fn text(json: Vec<u8>) -> Utf8Bytes {
    Utf8Bytes::from(String::from_utf8(json).expect("JSON is UTF-8"))
}

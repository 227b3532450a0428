//! A response as clients get it: encoded once, whoever it is for.

use std::borrow::Cow;

use async_graphql::Response;
use axum::extract::ws::Utf8Bytes;
use serde::Serialize;

use super::error::{give_codes, is_request_error};

/// An encoded response. A copy of it is a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// A result: `{"data": …}`, with errors where there are some.
    Result(Utf8Bytes),
    /// The errors of a request that never began to execute: `[…]`.
    Errors(Utf8Bytes),
}

impl Payload {
    /// The whole response as JSON.
    pub(super) fn response_text(&self) -> Cow<'_, str> {
        match self {
            Self::Result(text) => Cow::Borrowed(text),
            Self::Errors(errors) => Cow::Owned(format!("{{\"errors\":{errors}}}")),
        }
    }
}

impl From<Response> for Payload {
    fn from(mut response: Response) -> Self {
        give_codes(&mut response.errors);
        if is_request_error(&response) {
            Self::Errors(encode(&response.errors))
        } else {
            Self::Result(encode(&response))
        }
    }
}

fn encode(value: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(value)
        .expect("GraphQL responses are always JSON")
        .into()
}

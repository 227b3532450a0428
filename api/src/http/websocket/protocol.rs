//! The messages of `graphql-transport-ws` (the `PROTOCOL.md` of the npm package graphql-ws) and its close codes.

use std::borrow::Cow;
use std::fmt::Display;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::http::request::parameters::{Object, Parameters};
use crate::http::response::encode::Payload;
use crate::http::response::error::{ErrorCode, Refusal};

/// The name of the sub-protocol.
pub(crate) const PROTOCOL: &str = "graphql-transport-ws";

/// Longest id of an operation, in bytes: every event of it has it, and clients use numbers or UUIDs.
pub(crate) const MOST_ID: usize = 256;

/// A message of a client.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ClientMessage {
    ConnectionInit {
        payload: Option<Map<String, Value>>,
    },
    Ping {
        payload: Option<Map<String, Value>>,
    },
    Pong {
        #[serde(rename = "payload")]
        _payload: Option<Map<String, Value>>,
    },
    Subscribe {
        id: String,
        payload: Object<Parameters>,
    },
    Complete {
        id: String,
    },
}

/// Reads the first message of a socket, for the fuzzer. Returns the payload of a `connection_init`, empty where it has none;
/// `None` for another message. Fails with the frame that closes the socket.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn connection_init(text: &str) -> Result<Option<Map<String, Value>>, CloseFrame> {
    match serde_json::from_str(text) {
        Ok(ClientMessage::ConnectionInit { payload }) => Ok(Some(payload.unwrap_or_default())),
        Ok(_) => Ok(None),
        Err(error) => Err(Close::invalid(&error).into()),
    }
}

/// A message of the server. Responses are written by [`respond`].
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ServerMessage<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Map<String, Value>>,
    },
    Complete {
        id: &'a str,
    },
}

impl ServerMessage<'_> {
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("what clients sent as JSON is JSON")
    }

    pub(crate) fn to_message(&self) -> Message {
        Message::Text(self.to_text().into())
    }
}

/// A message with a response up to the place of the response, which a brace follows.
pub(crate) fn envelope(kind: &str, id: &str) -> String {
    let id = serde_json::to_string(id).expect("a string is JSON");
    format!("{{\"type\":\"{kind}\",\"id\":{id},\"payload\":")
}

/// An operation's response in its envelope: `next`, or `error` for one that never began. The response is text already.
pub(crate) fn respond(id: &str, payload: &Payload) -> String {
    let (kind, text) = match payload {
        Payload::Result(text) => ("next", text),
        Payload::Errors(text) => ("error", text),
    };
    [&envelope(kind, id), text.as_str(), "}"].concat()
}

/// Why the server closes a socket.
#[derive(Debug)]
pub(crate) struct Close {
    code: u16,
    reason: Cow<'static, str>,
}

impl Close {
    pub(crate) const GOING_AWAY: Self = Self::fixed(1001, "Server is shutting down");
    pub(crate) const NO_FRAME: Self = Self::fixed(1002, "Not a frame of a client's");
    pub(crate) const NOT_UTF8: Self = Self::fixed(1007, "Text is UTF-8");
    pub(crate) const TOO_LONG: Self = Self::fixed(1009, "Message too long");
    pub(crate) const LONG_ID: Self = Self::fixed(4400, "Invalid message: the id is too long");
    pub(crate) const UNAUTHORIZED: Self = Self::fixed(4401, "Unauthorized");
    pub(crate) const OUTDATED: Self = Self::fixed(4403, "Your rights have changed: connect again");
    pub(crate) const SUBPROTOCOL: Self = Self::fixed(4406, "Subprotocol not acceptable");
    pub(crate) const INIT_TIMEOUT: Self = Self::fixed(4408, "Connection initialisation timeout");
    pub(crate) const SECOND_INIT: Self = Self::fixed(4429, "Too many initialisation requests");

    const fn fixed(code: u16, reason: &'static str) -> Self {
        let reason = Cow::Borrowed(reason);
        Self { code, reason }
    }

    fn new(code: u16, reason: String) -> Self {
        let reason = Cow::Owned(reason);
        Self { code, reason }
    }

    pub(crate) fn invalid(why: &impl Display) -> Self {
        Self::new(4400, format!("Invalid message: {why}"))
    }

    pub(crate) fn duplicate(id: &str) -> Self {
        Self::new(4409, format!("Subscriber for {id} already exists"))
    }

    /// Whether it is about what the peer sent in frames, of which nothing more can be read.
    pub(crate) fn is_of_unreadable(&self) -> bool {
        matches!(self.code, 1002 | 1007 | 1009)
    }

    /// 4403 tells a client not to come back; 1013 ("try again later") that it may; 4429 that it has come too often.
    pub(crate) fn refused(refusal: Refusal) -> Self {
        let code = match refusal.code {
            ErrorCode::RateLimited | ErrorCode::Unavailable => 1013,
            ErrorCode::Internal => 1011,
            ErrorCode::LimitExceeded => 4429,
            _ => 4403,
        };
        Self::new(code, refusal.message)
    }
}

impl From<Close> for CloseFrame {
    /// A control frame has room for 123 bytes of reason (RFC 6455, 5.5).
    fn from(close: Close) -> Self {
        let end = close.reason.floor_char_boundary(123);
        Self {
            code: close.code,
            reason: Utf8Bytes::from(&close.reason[..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_of_any_letters_is_put_into_the_envelope() {
        let id = "a\"b\\c\n";
        let text = respond(id, &Payload::Result("{\"data\":1}".into()));
        let message: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({"type": "next", "id": id, "payload": {"data": 1}});
        assert_eq!(message, expected);
    }
}

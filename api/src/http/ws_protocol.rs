//! The messages of `graphql-transport-ws` (the `PROTOCOL.md` of the npm package graphql-ws) and its close codes.

use std::borrow::Cow;

use axum::extract::ws::{CloseFrame, Utf8Bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    error::{ErrorCode, Refusal},
    object::Object,
    parameters::Parameters,
    payload::Payload,
};

/// The name of the sub-protocol.
pub(super) const PROTOCOL: &str = "graphql-transport-ws";

/// Longest id of an operation, in bytes: every event of it has it, and clients use numbers or UUIDs.
pub(super) const MOST_ID: usize = 256;

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientMessage {
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

/// What the server says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerMessage<'a> {
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
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("what clients sent as JSON is JSON")
    }
}

/// An operation's response in its envelope: `next`, or `error` for one that never began. The response is text already.
pub(super) fn respond(id: &str, payload: &Payload) -> String {
    let (kind, text) = match payload {
        Payload::Result(text) => ("next", text),
        Payload::Errors(text) => ("error", text),
    };
    let id = serde_json::to_string(id).expect("a string is JSON");
    format!("{{\"type\":\"{kind}\",\"id\":{id},\"payload\":{text}}}")
}

/// Why the server closes a socket.
#[derive(Debug)]
pub(super) struct Close {
    code: u16,
    reason: Cow<'static, str>,
}

impl Close {
    pub(super) const GOING_AWAY: Self = Self::fixed(1001, "Server is shutting down");
    pub(super) const NO_FRAME: Self = Self::fixed(1002, "Not a frame of a client's");
    pub(super) const NOT_UTF8: Self = Self::fixed(1007, "Text is UTF-8");
    pub(super) const TOO_LONG: Self = Self::fixed(1009, "Message too long");
    pub(super) const LONG_ID: Self = Self::fixed(4400, "Invalid message: the id is too long");
    pub(super) const UNAUTHORIZED: Self = Self::fixed(4401, "Unauthorized");
    pub(super) const OUTDATED: Self = Self::fixed(4403, "Your rights have changed: connect again");
    pub(super) const SUBPROTOCOL: Self = Self::fixed(4406, "Subprotocol not acceptable");
    pub(super) const INIT_TIMEOUT: Self = Self::fixed(4408, "Connection initialisation timeout");
    pub(super) const SECOND_INIT: Self = Self::fixed(4429, "Too many initialisation requests");

    const fn fixed(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason: Cow::Borrowed(reason),
        }
    }

    pub(super) fn invalid(why: &impl ToString) -> Self {
        Self {
            code: 4400,
            reason: format!("Invalid message: {}", why.to_string()).into(),
        }
    }

    pub(super) fn duplicate(id: &str) -> Self {
        Self {
            code: 4409,
            reason: format!("Subscriber for {id} already exists").into(),
        }
    }

    /// Whether it is about what the peer sent in frames, of which nothing more can be read.
    pub(super) fn is_of_unreadable(&self) -> bool {
        matches!(self.code, 1002 | 1007 | 1009)
    }

    /// 4403 tells a client not to come back; 1013 ("try again later") that it may; 4429 that it has come too often.
    pub(super) fn refused(refusal: Refusal) -> Self {
        let code = match refusal.code {
            ErrorCode::RateLimited | ErrorCode::Unavailable => 1013,
            ErrorCode::Internal => 1011,
            ErrorCode::LimitExceeded => 4429,
            _ => 4403,
        };
        Self {
            code,
            reason: refusal.message.into(),
        }
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
        assert_eq!(
            message,
            json!({"type": "next", "id": id, "payload": {"data": 1}})
        );
    }
}

//! What a WebSocket makes of a text, for the fuzzer.

use axum::extract::ws::CloseFrame;
use serde_json::{Map, Value};

use super::protocol::{ClientMessage, Close};

/// The payload of a `connection_init`, empty where it has none; nothing for another message; or how the socket is closed.
pub(crate) fn connection_init(text: &str) -> Result<Option<Map<String, Value>>, CloseFrame> {
    match serde_json::from_str(text) {
        Ok(ClientMessage::ConnectionInit { payload }) => Ok(Some(payload.unwrap_or_default())),
        Ok(_) => Ok(None),
        Err(error) => Err(Close::invalid(&error).into()),
    }
}

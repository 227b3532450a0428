//! Reads the first message of a WebSocket, for the fuzzer.

use axum::extract::ws::CloseFrame;
use serde_json::{Map, Value};

use super::protocol::{ClientMessage, Close};

/// Returns the payload of a `connection_init`, empty where it has none; `None` for another message. Fails with the frame
/// that closes the socket.
pub(crate) fn connection_init(text: &str) -> Result<Option<Map<String, Value>>, CloseFrame> {
    match serde_json::from_str(text) {
        Ok(ClientMessage::ConnectionInit { payload }) => Ok(Some(payload.unwrap_or_default())),
        Ok(_) => Ok(None),
        Err(error) => Err(Close::invalid(&error).into()),
    }
}

//! GraphQL over WebSocket.

pub(crate) mod connection;
pub(crate) mod frames;
pub(crate) mod operations;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod probe;
pub(crate) mod protocol;

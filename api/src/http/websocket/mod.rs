//! GraphQL over WebSocket.

pub(crate) mod connection;
pub(crate) mod frames;
pub(crate) mod operations;
pub(crate) mod probe;
pub(crate) mod protocol;

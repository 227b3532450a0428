//! GraphQL over WebSocket.

mod connection;
mod frames;
pub(crate) mod opening;
mod operations;
mod protocol;
mod socket;
mod wakeups;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::protocol::connection_init;

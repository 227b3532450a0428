//! GraphQL over WebSocket.

mod connection;
mod frames;
pub(crate) mod opening;
mod operations;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod probe;
mod protocol;
mod socket;
mod wakeups;

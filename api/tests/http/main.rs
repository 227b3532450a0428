//! GraphQL over HTTP and WebSocket: a toy schema behind the real transport, on real sockets.
#![expect(clippy::unwrap_used, reason = "a panic is the report of a failed test")]

mod batches;
mod compression;
mod events;
mod http_toy;
#[path = "../clients/node.rs"]
mod node;
mod persisted;
mod post_get;
mod streams;
mod websocket;

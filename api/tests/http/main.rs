//! GraphQL over HTTP and WebSocket: a toy schema behind the real transport, on real sockets.

mod audit;
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

//! GraphQL over HTTP: a toy schema behind the real transport, on real sockets.

mod audit;
#[path = "../http_toy/mod.rs"]
mod http_toy;
#[path = "../clients/node.rs"]
mod node;
mod post_get;

//! The gateway of Wharfinger: GraphQL over HTTP and WebSocket, its pages, and the settings of the whole program.

pub mod config;
pub mod http;

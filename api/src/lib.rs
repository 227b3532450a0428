//! The gateway of Wharfinger: GraphQL over HTTP and WebSocket, its pages, the settings of the whole program, and the
//! client that talks to it from a terminal.

pub mod client;
pub mod config;
pub mod graphql;
pub mod http;

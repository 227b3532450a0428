//! The gateway of Wharfinger: GraphQL over HTTP and WebSocket, its pages, the settings of the whole program, and the
//! client that talks to it from a terminal.
//!
//! A request passes through `server` (listeners, TLS, where it came from), [`http`] (the transports, which know GraphQL
//! but no users), `auth` (who is calling, and how often), and [`graphql`] (the contract, resolved by the jobs crate).
//! `startup` makes a process of its settings ([`config`]), `commands` are those of the program, `observability` is what
//! operators see, `board` the page of the queues, and [`client`] the commands that talk to a gateway.

mod auth;
mod board;
pub mod cli;
pub mod client;
mod commands;
pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod graphql;
pub mod http;
mod observability;
mod server;
mod startup;

//! The gateway of Wharfinger: GraphQL over HTTP and WebSocket, its pages, the settings of the whole program, and the
//! client that talks to it from a terminal.
//!
//! A request passes `server` (listeners, TLS, the client's address), [`http`] (the transports, which know GraphQL but no
//! users), `auth` (tokens and request limits), and [`graphql`] (the contract, resolved by the jobs crate). `startup` turns
//! settings ([`config`]) into a process, `commands` has the program's commands, `observability` health, metrics, logs and
//! traces, `board` the page of the queues, and [`client`] the commands that talk to a gateway. `fuzzing` checks the parsers
//! of what clients send.

mod auth;
mod board;
pub mod cli;
pub mod client;
mod commands;
pub mod config;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod graphql;
pub mod http;
mod observability;
mod server;
mod startup;

#[cfg(test)]
#[path = "../tests/graphql/mod.rs"]
mod graphql_tests;

//! The gateway of Wharfinger: GraphQL over HTTP and WebSocket, its pages, the settings of the whole program, and the
//! client that talks to it from a terminal.

mod bearer;
mod board;
pub mod cli;
pub mod client;
mod client_address;
pub mod config;
mod cookie;
mod data_dir;
mod first_admin;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
pub mod graphql;
mod health;
pub mod http;
mod listener;
mod measure;
mod over_tls;
mod parts;
mod rate;
mod secret_key;
mod serve;
mod signals;
mod supervise;
mod telemetry;
mod tls;
mod user_create;

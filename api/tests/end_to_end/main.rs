//! The `wharfinger` program as its users have it: processes with settings of their own, spoken to over HTTP and
//! WebSocket, with real engines, registries, databases and Redis. `make test` starts these.
#![expect(clippy::unwrap_used, reason = "a panic is the report of a failed test")]

mod accounts;
mod acknowledged;
mod board;
mod board_rights;
mod browsers;
mod command_line;
mod contract;
mod endpoints;
#[path = "../http/events.rs"]
mod events;
mod examples;
mod file_modes;
mod fleet;
#[path = "../graphql/authorisation/introspect.rs"]
#[allow(dead_code, reason = "the tests of the authorisation use the rest")]
mod introspect;
#[path = "../../../jobs/tests/life/support/invariants.rs"]
mod invariants;
mod limits;
mod log_files;
mod metrics;
mod mission;
#[path = "../clients/node.rs"]
mod node;
mod observability;
mod outages;
mod playground;
mod pulls;
mod refusals;
mod restarts;
mod rights;
mod scanners;
mod secrets;
mod stopping;
mod streams;
mod support;
mod tls;
mod traces;
mod watchers;

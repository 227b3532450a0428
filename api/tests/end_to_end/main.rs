//! The `wharfinger` program as its users have it: processes with settings of their own, spoken to over HTTP and
//! WebSocket, with real engines, registries, databases and Redis. `make test` starts these.
#![expect(clippy::unwrap_used, reason = "a panic is the report of a failed test")]

mod accounts;
mod acknowledged;
mod administration;
mod authorisation;
mod board;
mod board_rights;
#[path = "../playground/browser.rs"]
#[expect(dead_code, reason = "the playground's tests use the rest")]
mod browser;
mod browsers;
mod command_line;
mod contract;
mod crashes;
mod endpoints;
#[path = "../http/events.rs"]
mod events;
mod examples;
mod file_modes;
mod fleet;
mod idempotency;
mod limits;
mod lists;
mod log_files;
mod metrics;
#[path = "../clients/node.rs"]
mod node;
mod observability;
mod odd_texts;
mod outages;
mod publishing;
mod pulls;
mod redis_gone;
mod refusals;
mod restarts;
mod rights;
mod scanners;
mod secrets;
mod statements;
mod stopping;
mod stored_secrets;
mod streams;
mod support;
mod tls;
mod traces;
mod watchers;

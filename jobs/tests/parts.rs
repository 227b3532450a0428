//! The parts of the crate one by one: database, engine, registry, queue and events. Needs the servers of `make test`.
#![allow(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

mod database;
mod engine;
mod events;
mod queue;
mod registry;
mod support;

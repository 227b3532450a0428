//! The life of a job, over real databases, queues, engines and a registry. Needs the servers of `make test`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod accounts;
mod administration;
mod basics;
mod came_back;
mod chaos;
mod clocks;
mod constraints;
mod contention;
mod credentials;
mod credits;
mod drains;
mod engines;
mod errors;
mod faults;
mod foreign_texts;
mod hand_out;
mod housekeeping;
mod interleavings;
mod limits;
mod locked_rows;
mod lost;
mod lost_locks;
#[path = "../model/mod.rs"]
mod model;
mod moves;
mod order;
mod pages;
mod patience;
mod placement;
mod public;
mod put_back;
mod queue_loss;
mod redirects;
mod requests;
mod sentences;
mod sharing;
mod silence;
mod statements;
mod stolen_digests;
mod stored_credentials;
mod support;
mod sweeps;
mod transfers;
mod watches;

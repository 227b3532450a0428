//! The life of a job, over real databases, queues, engines and a registry. Needs the servers of `make test`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod basics;
mod chaos;
mod clocks;
mod credentials;
mod drains;
mod engines;
mod errors;
mod faults;
mod limits;
mod moves;
mod order;
mod placement;
mod queue_loss;
mod requests;
mod sharing;
mod stored_credentials;
mod support;

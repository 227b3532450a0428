//! The life of a job, over real databases, queues, engines and a registry. Needs the servers of `make test`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod basics;
mod chaos;
mod engines;
mod errors;
mod faults;
mod order;
mod queue_loss;
mod requests;
mod sharing;
mod support;

//! The life of a job, from the request that a user makes to the image on a host, and everything that needs.
//!
//! A pull passes through these modules, in this order:
//!
//! 1. [`pull_image`] accepts it: the job and its hold are written in one transaction ([`job`], [`ledger`], [`hosts`]).
//! 2. [`dispatch`] hands it to the [`queue`], in fair order.
//! 3. [`worker`] claims it and runs an [`attempt`] of it: the manifest is read ([`registry`]), the engine pulls
//!    ([`engine`], [`engine_images`]), watchers see how far it is ([`progress`], [`live`]).
//! 4. `pull_image` settles it: image, charge and state in one transaction ([`holdings`], [`ledger`]).
//! 5. [`queries`] shows what came of it, [`remove_image`] takes it away again.
//!
//! [`commands`] are the mutations that are no jobs, [`sweep_images`] and [`maintenance`] what happens by itself,
//! [`accounts`] and [`registry_credentials`] who may do what, and [`infra`] what all of it is built on.
//!
//! Imports run one way: `infra` knows of nothing above it, and the kinds of job know `attempt`, which knows none of them: what
//! is particular to one is found by `kinds`.

pub mod error;
pub mod services;
pub mod settings;

pub mod infra;
pub mod live;

pub mod accounts;
pub mod registry_credentials;

mod holdings;
pub mod hosts;
pub mod ledger;

pub mod dispatch;
pub mod job;
pub mod queue;

pub mod engine;
mod engine_images;
pub mod progress;
pub mod registry;

mod attempt;
mod kinds;
pub use kinds::*;
pub mod worker;

pub mod commands;
pub mod queries;

mod fleet_lease;
pub mod maintenance;
pub mod sweep_images;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

//! What happens to an accepted request: hold, dispatch, claim, run on the engine, settle.
//!
//! A pull passes through [`pull_image`] (accepted: job and hold in one transaction), [`dispatch`] (handed to the
//! [`queue`]), [`worker`] (claimed, run with [`registry`] and [`engine`], settled). [`credits`] is the only place where
//! money moves, `outcome` the only place where an attempt ends badly, [`events`] how watchers hear of it all.

mod accept;
pub mod accounts;
pub mod announce;
pub mod audit;
mod blob_origins;
pub mod cancel_job;
mod claim;
pub mod clock;
pub mod clock_skew;
mod come_back;
pub mod credits;
mod custody;
pub mod db;
pub mod discard_job;
pub mod dispatch;
pub mod engine;
pub mod error;
pub mod events;
mod fair_order;
pub mod frame;
mod holdings;
pub mod hosts;
pub mod housekeeping;
pub mod keyring;
pub mod measure;
mod outcome;
pub mod progress;
mod public;
pub mod pull_image;
pub mod queries;
pub mod queue;
mod reconcile;
mod redis_link;
pub mod registry;
pub mod registry_credentials;
pub mod remove_image;
mod retry;
pub mod retry_dead_jobs;
pub mod retry_job;
pub mod services;
pub mod set_host_schedulable;
pub mod set_image_visibility;
pub mod set_queue_paused;
pub mod settings;
pub mod sweep_images;
pub mod tasks;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
pub mod watch;
pub mod worker;
pub mod write_probe;

//! `pullImage`: from the mutation to the settled image.
//!
//! [`accept`] records the request and holds its credits; `run` is what a worker does with it.

mod accept;
mod fetching;
mod job;
mod locked;
mod proof;
mod public;
mod record;
pub(crate) mod resolve;
mod run;
mod settle;
mod transfer;

pub(crate) use self::job::PullImageJob;
pub use accept::{PullImage, accept};

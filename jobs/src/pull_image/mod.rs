//! `pullImage`: from the mutation to the settled image.
//!
//! [`accept`] records the request and holds its credits; `run` is what a worker does with it.

mod accept;
mod fetching;
mod proof;
mod public;
mod record;
pub(crate) mod resolve;
pub(crate) mod run;
mod settle;
mod transfer;

pub use accept::{PullImage, accept};

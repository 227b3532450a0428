//! `pullImage`: from the mutation to the settled image.
//!
//! [`accept`] records the request and holds its credits; `run` is what a worker does with it.

mod accept;
pub(crate) mod run;
pub(crate) mod settle;

pub use accept::{PullImage, accept};

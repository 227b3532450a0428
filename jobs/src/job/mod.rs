//! The job: what an acceptance writes, its place in the order, its lease, and every transition of its state.

pub(crate) mod backoff;
pub(crate) mod draft;
pub(crate) mod idempotency;
pub(crate) mod lease;
pub(crate) mod limits;
pub(crate) mod order;
pub(crate) mod transition;

pub use transition::{EDGES, Edge, Transition};

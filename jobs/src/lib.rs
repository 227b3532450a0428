//! What happens to an accepted request: hold, dispatch, claim, run on the engine, settle.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test's panic is its report")
)]

pub mod registry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

//! What happens to an accepted request: hold, dispatch, claim, run on the engine, settle.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        reason = "a test that panics fails, and says where"
    )
)]

pub mod engine;
pub mod progress;

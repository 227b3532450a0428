//! The value types against Docker's own test vectors and grammar, and against arbitrary texts.
#![allow(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

mod credits;
mod docker_vectors;
mod fuzz_body;
mod grammar;
mod messages;
mod properties;

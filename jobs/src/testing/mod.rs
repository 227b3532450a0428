//! Real registries and images for integration tests, here and in other crates (feature `testing`).
//!
//! Tests stop at the first thing that goes wrong in here: every function panics where it cannot do what it says.
#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "test support: a panic is the report"
)]

pub mod image;
pub mod registry;
pub mod silent_proxy;
pub mod small_disk;

//! `SeaORM` entities and the value types they are made of.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        reason = "a test that panics fails, and says where"
    )
)]

pub mod credits;
pub mod digest;
mod excerpt;
pub mod reference;

pub use credits::{Credits, CreditsError};
pub use digest::{Digest, DigestAlgorithm, DigestError};
pub use reference::{ImageReference, ReferenceError};

//! SeaORM entities and the value types they are made of.

pub mod credits;
pub mod digest;
mod excerpt;
pub mod reference;

pub use credits::{Credits, CreditsError};
pub use digest::{Digest, DigestAlgorithm, DigestError};
pub use reference::{ImageReference, ReferenceError};

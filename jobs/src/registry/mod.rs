//! Reads manifests upstream, before each pull.
//!
//! A request passes through here so: [`RegistryRules`] decide by name whether the registry may be asked;
//! the endpoint makes the URL; the transport follows it hop by hop, connecting only to permitted addresses; auth answers the
//! registry's challenge with this user's login, or none; the manifest is checked against its digest, and from an
//! index the engine's [`Platform`] picks its image. What comes out, a [`Manifest`], tells sizes and ids before a byte is
//! pulled, and that the registry would give this user the image. The probe then asks where its parts come from, before an engine
//! does.

mod address;
mod auth;
mod authorized;
mod blob;
mod cache;
mod client;
mod endpoint;
mod error;
mod manifest;
mod platform;
mod probe;
mod question;
mod rules;
#[cfg(test)]
mod rules_tests;
mod span;
mod transport;
mod uncompressed;

pub use auth::Login;
pub use blob::{Blob, BlobError, Delivered};
pub use client::{RegistryClient, Timeouts};
pub use endpoint::canonical_name;
pub use error::{InvalidAnswer, RegistryError, UnavailableCause};
pub(crate) use manifest::short_id;
pub use manifest::{Layer, Manifest};
pub use platform::Platform;
pub use rules::{NotAllowed, RegistryRules, RulesError};
#[cfg(any(test, feature = "testing"))]
pub(crate) use transport::ensure_crypto_provider;

//! A Docker engine and a registry in memory, for tests that need thousands of pulls or faults to order. They speak enough
//! of the two HTTP APIs on the loopback that bollard and reqwest run against them as they are.
//!
//! `registry` has manifests and tags; `engine` keeps images, names and containers by moby's rules; `http` answers.

mod engine;
pub(crate) mod http;
mod registry;

use std::sync::Arc;

use serde_json::json;
use wharfinger_jobs::testing::image::digest_of;

pub(crate) use engine::{Engine, PullFault};
pub(crate) use registry::Registry;

/// An image: what a registry says of it, and what an engine makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The digest of its config, which is the engine's image id.
    pub(crate) id: String,
    /// Its config, for want of a better one.
    name: String,
    /// Unpacked bytes.
    pub(crate) size: u64,
    /// Bytes of its only layer as it travels.
    pub(crate) compressed: u64,
}

impl Image {
    /// An image of this name, which makes its id.
    pub(crate) fn new(name: &str, size: u64, compressed: u64) -> Self {
        let id = digest_of(name.as_bytes());
        Self {
            id,
            name: name.to_owned(),
            size,
            compressed,
        }
    }

    /// The digest of its layer, which is not compressed.
    fn layer(&self) -> String {
        digest_of(&self.layer_content())
    }

    fn layer_content(&self) -> Vec<u8> {
        format!("the layer of {}", self.id).into_bytes()
    }

    /// Its config or layer, by the digest.
    fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        if digest == self.id {
            Some(self.name.clone().into_bytes())
        } else {
            (digest == self.layer()).then(|| self.layer_content())
        }
    }

    /// Its manifest. Editions are manifests of different digests for one image id.
    fn manifest(&self, edition: u32) -> Vec<u8> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": registry::MANIFEST_TYPE,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "size": 100, "digest": self.id,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "size": self.compressed,
                "digest": self.layer(),
            }],
            "annotations": {"edition": edition.to_string()},
        });
        serde_json::to_vec(&manifest).unwrap()
    }
}

/// What a registry and the engines that pull from it share.
type Shared<T> = Arc<std::sync::Mutex<T>>;

/// A panic in one test thread is the report; the lock it held says nothing more.
fn lock<T>(shared: &Shared<T>) -> std::sync::MutexGuard<'_, T> {
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

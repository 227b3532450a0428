//! Images made in code.

use std::fmt::Write as _;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// An image as a registry keeps it.
pub(crate) struct TestImage {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
}

impl TestImage {
    /// An image with a layer of one file for each size, unlike any other image.
    pub(crate) fn new(file_sizes: &[usize]) -> Self {
        let layers = file_sizes.iter().map(|size| layer(*size)).collect();
        Self::of(layers)
    }

    pub(crate) fn of(layers: Vec<Vec<u8>>) -> Self {
        // Layers are not compressed, so that a layer's digest is its diff id.
        let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {"ExposedPorts": {"9000/tcp": {}, "53/udp": {}, "53/tcp": {}}, "Labels": {"id": Uuid::new_v4()}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let blob = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.docker.{kind}"),
                "size": bytes.len(),
                "digest": digest(bytes),
            })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": blob("container.image.v1+json", &config),
            "layers": layers.iter().map(|layer| blob("image.rootfs.diff.tar", layer)).collect::<Vec<_>>(),
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            config,
            layers,
        }
    }

    pub(crate) fn id(&self) -> String {
        digest(&self.config)
    }

    pub(crate) fn manifest_layers(&self) -> Vec<(String, u64)> {
        let sized = |layer: &Vec<u8>| (digest(layer), layer.len() as u64);
        self.layers.iter().map(sized).collect()
    }

    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.layers.iter().chain([&self.config])
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::from("sha256:"), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// A tar with one file of that size under a name of its own.
pub(crate) fn layer(size: usize) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, &Uuid::new_v4().to_string());
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.resize(512 + size.next_multiple_of(512) + 1024, 0);
    tar
}

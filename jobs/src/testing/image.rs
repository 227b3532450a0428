//! Images made in code, small and different for each test.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The media types of one of the two families of images that registries hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Docker's, which every engine and registry speaks.
    Docker,
    /// OCI's.
    Oci,
}

/// An image to push: layers, and what its config says.
#[derive(Clone, Debug)]
pub struct TestImage {
    /// Uncompressed tar archives, bottom first; see [`layer`].
    pub layers: Vec<Vec<u8>>,
    /// `80/tcp` and the like.
    pub exposed_ports: Vec<String>,
    /// Go's name, `amd64`.
    pub architecture: String,
    /// Of manifest and config.
    pub format: Format,
    /// Whether its layers travel compressed.
    pub gzip: bool,
    /// Its config, in place of the one that follows from the rest.
    pub odd_config: Option<Vec<u8>>,
}

impl TestImage {
    /// A linux/amd64 image of these layers in Docker's format.
    pub fn new(layers: Vec<Vec<u8>>) -> Self {
        Self {
            layers,
            exposed_ports: Vec::new(),
            architecture: "amd64".to_owned(),
            format: Format::Docker,
            gzip: false,
            odd_config: None,
        }
    }

    /// The layers as they lie in a registry, bottom first.
    pub fn blobs(&self) -> Vec<Vec<u8>> {
        if self.gzip {
            self.layers.iter().map(|layer| gzip(layer)).collect()
        } else {
            self.layers.clone()
        }
    }

    /// The config; its digest is the engine's image id.
    pub fn config(&self) -> Vec<u8> {
        if let Some(config) = &self.odd_config {
            return config.clone();
        }
        let ports: serde_json::Map<_, _> = self
            .exposed_ports
            .iter()
            .map(|port| (port.clone(), json!({})))
            .collect();
        let diff_ids: Vec<_> = self.layers.iter().map(|layer| digest_of(layer)).collect();
        to_bytes(&json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": {"ExposedPorts": ports, "Cmd": ["/none"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": vec![json!({"created_by": "a test"}); self.layers.len()],
        }))
    }

    /// The manifest's bytes and media type.
    pub fn manifest(&self) -> (Vec<u8>, &'static str) {
        let (media_type, config_type, layer_type, compressed) = match self.format {
            Format::Docker => (
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar",
                ".gzip",
            ),
            Format::Oci => (
                "application/vnd.oci.image.manifest.v1+json",
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar",
                "+gzip",
            ),
        };
        let compressed = if self.gzip { compressed } else { "" };
        let layer_type = format!("{layer_type}{compressed}");
        let layers: Vec<_> = self
            .blobs()
            .iter()
            .map(|blob| descriptor(&layer_type, blob))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor(config_type, &self.config()),
            "layers": layers,
        });
        (to_bytes(&manifest), media_type)
    }
}

/// A layer: an uncompressed tar archive with one file. Different contents make different layers.
pub fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    assert!(path.len() <= 100, "a ustar name");
    let mut header = [0_u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let checksum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{checksum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    // The last block filled up, and two empty ones for the end.
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// The same bytes for the same content.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// `sha256:…` of some content.
pub fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}

pub(super) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "size": content.len(), "digest": digest_of(content)})
}

pub(super) fn to_bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}

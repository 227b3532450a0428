//! From the bytes that a registry sent to what an engine will pull.

use std::collections::HashMap;
use std::iter;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::digest::DynDigest;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use url::Url;
use wharfinger_entity::{CleanText, Digest, DigestAlgorithm};

use super::error::InvalidAnswer;

const DIGEST_HEADER: &str = "docker-content-digest";

/// Everything an engine pulls; schema 1 is not asked for.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The config types of Docker's `ImageTypes`: the odd ones come from registries of old.
const IMAGE_CONFIGS: [&str; 6] = [
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/octet-stream",
    "application/json",
    "text/html",
    "",
];

/// Layers of an image, at most: more than any engine takes (see [`EngineInfo::max_layers`](crate::engine::EngineInfo)).
const MAX_LAYERS: usize = 500;

/// Bytes of a config, at most: as many as of a manifest.
const MAX_CONFIG: u64 = 4 * 1024 * 1024;

/// Digits of the engine's short ids.
const SHORT_ID: usize = 12;

/// Other places for parts of an image, at most. Each of them is asked before an engine may be sent there.
const MAX_URLS: usize = 1000;

/// The image that a reference means on one platform, before anything is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The digest that the reference means: the index's if it is an index, as `docker images --digests` shows it.
    pub digest: Digest,
    /// The digest of the platform's own manifest; the same as `digest` if there is no index.
    pub platform_digest: Digest,
    /// The digest of the image's config, which is the image id of Docker's classic image store.
    pub config_digest: Digest,
    /// The size of the config in bytes.
    pub config_size: u64,
    /// The layers from the bottom up. One that is in an image twice is listed twice.
    pub layers: Vec<Layer>,
    /// The sum of the layers' sizes, in bytes.
    pub compressed_size: u64,
    /// Where, by its own words, an engine may fetch parts of it from, besides the registry.
    pub urls: Vec<Url>,
}

/// A layer as the registry stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Of the compressed content.
    pub digest: Digest,
    /// Of the compressed content, in bytes.
    pub size: u64,
    /// Says the compression, and whether the layer is fetched from elsewhere.
    pub media_type: CleanText<255>,
}

/// A document under a manifest URL: an index, with its digest, or an image.
pub(super) enum Document {
    Index(Digest, Box<ImageIndex>),
    Image(Manifest),
}

/// Which members a document has, to tell its kind without trusting what it calls itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<Vec<IgnoredAny>>,
    fs_layers: Option<IgnoredAny>,
}

/// Checks the body against the digest that was asked for and the one that the registry announced, and returns what
/// the reference means.
fn verified_digest(
    reference: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Digest, InvalidAnswer> {
    // A tag has no colon.
    let requested = reference.contains(':').then(|| parsed(reference));
    let requested = requested.transpose()?;
    let announced = headers
        .get(DIGEST_HEADER)
        .map(|value| parsed(&String::from_utf8_lossy(value.as_bytes())));
    let announced = announced.transpose()?;
    for expected in requested.iter().chain(&announced) {
        if digest(expected.algorithm(), body) != *expected {
            return Err(mismatch(expected));
        }
    }
    let meant = requested.or(announced);
    Ok(meant.unwrap_or_else(|| digest(DigestAlgorithm::Sha256, body)))
}

fn parsed(text: &str) -> Result<Digest, InvalidAnswer> {
    Digest::parse(text).map_err(|_| mismatch(text))
}

fn mismatch(expected: &str) -> InvalidAnswer {
    InvalidAnswer::Digest {
        expected: expected.into(),
    }
}

fn digest(algorithm: DigestAlgorithm, body: &[u8]) -> Digest {
    let mut hash = hasher(algorithm);
    hash.update(body);
    let hex = hex::encode(hash.finalize());
    Digest::parse(&format!("{algorithm}:{hex}")).expect("a whole hash is a digest")
}

pub(super) fn hasher(algorithm: DigestAlgorithm) -> Box<dyn DynDigest + Send> {
    match algorithm {
        DigestAlgorithm::Sha256 => Box::new(Sha256::new()),
        DigestAlgorithm::Sha384 => Box::new(Sha384::new()),
        DigestAlgorithm::Sha512 => Box::new(Sha512::new()),
    }
}

/// Reads an index or a manifest, whose digest has to be the one that was asked for. A document that is both, or is
/// announced as the other, is refused: two readers could see two images in it (OCI distribution-spec, GHSA-mc8v-mgrf-8f4m).
pub(super) fn read(
    reference: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Document, InvalidAnswer> {
    let digest = verified_digest(reference, headers, body)?;
    let shape: Shape = serde_json::from_slice(body)?;
    if shape.schema_version == 1 || shape.fs_layers.is_some() {
        return Err(InvalidAnswer::Schema1);
    }
    let is_index = shape.manifests.is_some();
    let is_image = shape.config.is_some() || shape.layers.is_some();
    let header = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let announced = [shape.media_type.as_deref(), header];
    let contradicted = announced.into_iter().flatten().any(|media_type| {
        (is_index && is_manifest_type(media_type)) || (is_image && is_index_type(media_type))
    });
    if contradicted || is_index && is_image {
        return Err(InvalidAnswer::Manifest(
            "its manifest contradicts itself: it is both an index and an image",
        ));
    }
    if is_index {
        let index = Box::new(serde_json::from_slice(body)?);
        return Ok(Document::Index(digest, index));
    }
    if !is_image {
        return Err(InvalidAnswer::Manifest("it is no container image"));
    }
    // Before they are read: 4 MB hold 33,000 layers.
    let found = shape.layers.map_or(0, |layers| layers.len());
    if found > MAX_LAYERS {
        return Err(InvalidAnswer::TooManyLayers {
            found,
            most: MAX_LAYERS,
        });
    }
    image(digest, &serde_json::from_slice(body)?).map(Document::Image)
}

fn image(digest: Digest, manifest: &ImageManifest) -> Result<Manifest, InvalidAnswer> {
    let config_type = manifest.config().media_type().to_string();
    if !IMAGE_CONFIGS.contains(&config_type.as_str()) {
        return Err(InvalidAnswer::Manifest("it is no container image"));
    }
    let part = |part: &Descriptor| {
        let digest = Digest::parse(part.digest().as_ref());
        digest.map_err(|_| InvalidAnswer::Manifest("its parts have digests that no engine knows"))
    };
    let layers = manifest.layers().iter().map(|layer| {
        Ok(Layer {
            digest: part(layer)?,
            size: layer.size(),
            media_type: layer.media_type().to_string().into(),
        })
    });
    let layers: Vec<Layer> = layers.collect::<Result<_, InvalidAnswer>>()?;
    if manifest.config().size() > MAX_CONFIG {
        return Err(InvalidAnswer::Manifest("its config is bigger than 4 MiB"));
    }
    if !are_told_apart(&layers) {
        return Err(InvalidAnswer::Manifest(
            "two of its layers have digests that begin alike",
        ));
    }
    let compressed_size = layers
        .iter()
        .try_fold(0_u64, |sum, layer| sum.checked_add(layer.size))
        .filter(|sum| i64::try_from(*sum).is_ok())
        .ok_or(InvalidAnswer::Manifest("its layers' sizes are impossible"))?;
    let parts = iter::once(manifest.config()).chain(manifest.layers());
    let urls: Vec<Url> = parts.flat_map(urls).take(MAX_URLS + 1).collect();
    if urls.len() > MAX_URLS {
        return Err(InvalidAnswer::Manifest(
            "its manifest names too many other places",
        ));
    }
    Ok(Manifest {
        platform_digest: digest.clone(),
        digest,
        config_digest: part(manifest.config())?,
        config_size: manifest.config().size(),
        layers,
        compressed_size,
        urls,
    })
}

/// Whether the engine's words on each layer can be told from those on the others: it names them by the first digits of
/// their digests.
fn are_told_apart(layers: &[Layer]) -> bool {
    let mut known = HashMap::new();
    layers.iter().all(|layer| {
        let known = known
            .entry(short_id(&layer.digest))
            .or_insert(&layer.digest);
        **known == layer.digest
    })
}

/// The name that engines have for a layer: the first 12 digits of its digest.
pub(crate) fn short_id(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..SHORT_ID).unwrap_or(hex)
}

/// Where else a part may be fetched from. Engines with containerd's image store ask there first, and pass over what they
/// cannot read.
pub(super) fn urls(part: &Descriptor) -> impl Iterator<Item = Url> {
    let urls = part.urls().iter().flatten();
    urls.filter_map(|url| Url::parse(url).ok())
}

fn is_index_type(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.index.")
        || media_type.starts_with("application/vnd.docker.distribution.manifest.list.")
}

fn is_manifest_type(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.manifest.")
        || media_type.starts_with("application/vnd.docker.distribution.manifest.v")
}

//! A registry that serves the manifests that its owner likes, and says of every blob that it has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use wharfinger_jobs::testing::image::digest_of;

use super::stand_in::http;

const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A blob or manifest, as other documents name it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) digest: String,
    pub(crate) size: usize,
}

impl Part {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self {
            digest: digest_of(content),
            size: content.len(),
        }
    }

    fn named(&self, kind: &str) -> Value {
        json!({"mediaType": kind, "digest": self.digest, "size": self.size})
    }
}

/// Ends when it is dropped.
pub(crate) struct HostileRegistry {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    content: Arc<Mutex<Content>>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Content {
    /// By tag and by digest, with their type.
    manifests: HashMap<String, (String, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
    /// Blobs that were asked for whole.
    wanted: Vec<String>,
}

impl HostileRegistry {
    pub(crate) async fn start() -> Self {
        let content = Arc::new(Mutex::new(Content::default()));
        let answering = async |State(content): State<Arc<Mutex<Content>>>,
                               method: Method,
                               uri: Uri,
                               headers: HeaderMap| {
            let partly = method == Method::HEAD || headers.contains_key(header::RANGE);
            content.lock().unwrap().answer(uri.path(), partly)
        };
        let router = http::all(answering, Arc::clone(&content));
        let (address, server) = http::serve(router).await;
        Self {
            address,
            content,
            _server: server,
        }
    }

    /// Serves a blob.
    pub(crate) fn has(&self, blob: &[u8]) -> Part {
        let part = Part::of(blob);
        let mut content = self.content.lock().unwrap();
        content.blobs.insert(part.digest.clone(), blob.to_vec());
        part
    }

    /// Serves a manifest of these under a tag. Returns the reference.
    pub(crate) fn claim(&self, tag: &str, config: &Part, layers: &[Part]) -> String {
        let layers: Vec<_> = layers.iter().map(|layer| layer.named(LAYER)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config.named(CONFIG), "layers": layers,
        });
        self.serve(tag, MANIFEST, serde_json::to_vec(&manifest).unwrap())
    }

    /// Serves an index that names a manifest under a tag. Returns the reference.
    pub(crate) fn claim_index(&self, tag: &str, manifests: &[Part]) -> String {
        let entry = |part: &Part| {
            let mut entry = part.named(MANIFEST);
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
            entry
        };
        let entries: Vec<_> = manifests.iter().map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        self.serve(tag, INDEX, serde_json::to_vec(&index).unwrap())
    }

    /// Serves a manifest of this type by its digest and a tag. Returns the reference.
    pub(crate) fn serve(&self, tag: &str, kind: &str, bytes: Vec<u8>) -> String {
        let mut content = self.content.lock().unwrap();
        let manifest = (kind.to_owned(), bytes);
        content
            .manifests
            .insert(digest_of(&manifest.1), manifest.clone());
        content.manifests.insert(tag.to_owned(), manifest);
        format!("{}/x:{tag}", self.address)
    }

    /// Whether a blob was asked for whole.
    pub(crate) fn was_asked_for(&self, digest: &str) -> bool {
        let content = self.content.lock().unwrap();
        content.wanted.iter().any(|wanted| wanted == digest)
    }
}

impl Content {
    fn answer(&mut self, path: &str, partly: bool) -> Response {
        if let Some(reference) = path.strip_prefix("/v2/x/manifests/") {
            return match self.manifests.get(reference) {
                Some((kind, bytes)) => {
                    let digest = digest_of(bytes);
                    let headers = [
                        ("content-type", kind.clone()),
                        ("docker-content-digest", digest),
                    ];
                    (headers, bytes.clone()).into_response()
                }
                None => StatusCode::NOT_FOUND.into_response(),
            };
        }
        let Some(digest) = path.strip_prefix("/v2/x/blobs/") else {
            return StatusCode::OK.into_response();
        };
        if partly {
            return (StatusCode::PARTIAL_CONTENT, "x").into_response();
        }
        self.wanted.push(digest.to_owned());
        match self.blobs.get(digest) {
            Some(bytes) => bytes.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

//! The registry: manifests by tag and digest, and refusals to order.

use std::collections::HashMap;
use std::future;

use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use tokio_util::task::AbortOnDropHandle;
use wharfinger_jobs::testing::image::digest_of;

use super::{Image, Shared, http, lock};

/// The only kind of manifest that it has.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Ends when it is dropped.
pub(crate) struct Registry {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    content: Shared<Content>,
    _server: AbortOnDropHandle<()>,
}

/// What it has.
#[derive(Default)]
pub(super) struct Content {
    /// Digests by `repository:tag`.
    tags: HashMap<String, String>,
    manifests: HashMap<String, Manifest>,
    refuse: Option<Refusal>,
    blobs_are_at: Option<String>,
    has_no_blobs: bool,
    /// A tag that means another digest from the next read on.
    moves: Option<(String, String)>,
}

/// What the next reads of a manifest are answered with.
#[derive(Clone, Copy)]
struct Refusal {
    status: StatusCode,
    times: u32,
    retry_after: Option<u32>,
}

#[derive(Clone)]
struct Manifest {
    bytes: Vec<u8>,
    image: Image,
}

impl Registry {
    /// An empty registry on a port of its own.
    pub(crate) async fn start() -> Self {
        let content = Shared::default();
        let answer = |State(content): State<Shared<Content>>, uri: Uri| {
            future::ready(answer(&mut lock(&content), &uri))
        };
        let (address, server) = http::serve(http::all(answer, Shared::clone(&content))).await;
        Self {
            address,
            content,
            _server: server,
        }
    }

    /// Makes a tag mean an image. Returns the digest of its manifest.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image, edition: u32) -> String {
        let mut content = lock(&self.content);
        let digest = content.keep(image, edition);
        let tag = format!("{repository}:{tag}");
        content.tags.insert(tag, digest.clone());
        digest
    }

    /// Makes a tag mean an image once it has been read the next time.
    pub(crate) fn push_after_read(&self, repository: &str, tag: &str, image: &Image) {
        let mut content = lock(&self.content);
        let digest = content.keep(image, 0);
        content.moves = Some((format!("{repository}:{tag}"), digest));
    }

    /// The next so many reads of a manifest are answered with this status.
    pub(crate) fn refuse(&self, status: StatusCode, times: u32) {
        self.set_refusal(status, times, None);
    }

    /// The next so many reads are too many: it may be asked again after so many seconds.
    pub(crate) fn ask_for_patience(&self, times: u32, retry_after: u32) {
        self.set_refusal(StatusCode::TOO_MANY_REQUESTS, times, Some(retry_after));
    }

    fn set_refusal(&self, status: StatusCode, times: u32, retry_after: Option<u32>) {
        lock(&self.content).refuse = (times > 0).then_some(Refusal {
            status,
            times,
            retry_after,
        });
    }

    /// Sends whoever asks for a layer or config there.
    pub(crate) fn redirect_blobs(&self, to: &str) {
        lock(&self.content).blobs_are_at = Some(to.to_owned());
    }

    /// From now on it has manifests and nothing that they name.
    pub(crate) fn lose_blobs(&self) {
        lock(&self.content).has_no_blobs = true;
    }

    pub(super) fn content(&self) -> Shared<Content> {
        Shared::clone(&self.content)
    }
}

impl Content {
    /// What a tag or digest means: the manifest's digest and the image.
    pub(super) fn find(&self, repository: &str, reference: &str) -> Option<(String, Image)> {
        let digest = if reference.starts_with("sha256:") {
            reference.to_owned()
        } else {
            self.tags.get(&format!("{repository}:{reference}"))?.clone()
        };
        let image = self.manifests.get(&digest)?.image.clone();
        Some((digest, image))
    }

    fn keep(&mut self, image: &Image, edition: u32) -> String {
        let bytes = image.manifest(edition);
        let digest = digest_of(&bytes);
        let image = image.clone();
        self.manifests
            .insert(digest.clone(), Manifest { bytes, image });
        digest
    }

    fn refusal(&mut self) -> Option<Response> {
        let refusal = self.refuse?;
        let Refusal {
            status,
            times,
            retry_after,
        } = refusal;
        self.refuse = (times > 1).then_some(Refusal {
            times: times - 1,
            ..refusal
        });
        let headers = retry_after.map(|seconds| [(header::RETRY_AFTER, seconds.to_string())]);
        Some(match headers {
            Some(headers) => (status, headers).into_response(),
            None => status.into_response(),
        })
    }
}

/// `GET /v2/REPOSITORY/manifests/REFERENCE`, and of blobs where they are or what they are.
fn answer(content: &mut Content, uri: &Uri) -> Response {
    let path = http::decoded(uri.path());
    if let Some(place) = content
        .blobs_are_at
        .as_ref()
        .filter(|_| path.contains("/blobs/"))
    {
        return Redirect::temporary(place).into_response();
    }
    if let Some((_, digest)) = path.split_once("/blobs/") {
        let mut images = content.manifests.values();
        return match images.find_map(|manifest| manifest.image.blob(digest)) {
            Some(blob) if !content.has_no_blobs => blob.into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let Some((repository, reference)) = path
        .strip_prefix("/v2/")
        .and_then(|rest| rest.split_once("/manifests/"))
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if let Some(refusal) = content.refusal() {
        return refusal;
    }
    let Some((digest, _)) = content.find(repository, reference) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let bytes = content.manifests[&digest].bytes.clone();
    let tag = format!("{repository}:{reference}");
    if let Some((tag, digest)) = content.moves.take_if(|(moving, _)| *moving == tag) {
        content.tags.insert(tag, digest);
    }
    let headers = [
        (header::CONTENT_TYPE.as_str(), MANIFEST_TYPE.to_owned()),
        ("docker-content-digest", digest),
    ];
    (headers, bytes).into_response()
}

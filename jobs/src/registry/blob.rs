//! Layers and configs: whether a repository gives one, and reading one whole, to nowhere.

use std::io::{self, Write};
use std::time::Duration;

use flate2::write::MultiGzDecoder;
use reqwest::StatusCode;
use sha2::digest::DynDigest;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::time::timeout;

use super::auth::Login;
use super::authorized::Want;
use super::client::{RegistryClient, Shared, wants_tls};
use super::endpoint::{RegistryHost, Target};
use super::error::{InvalidAnswer, RegistryError, UnavailableCause};
use super::question::Question;
use super::transport::{Reply, TransportError};

/// Uncompressed bytes that are hashed for each compressed byte, at most: a layer of zeros must not keep a worker busy.
const MOST_UNCOMPRESSED: u64 = 100;

/// Uncompressed bytes that are hashed of a small layer, at most.
const LEAST_BOUND: u64 = 64 * 1024 * 1024;

/// What is asked for of a repository.
#[derive(Clone, Copy, Debug)]
pub struct Blob<'a> {
    /// The digest of its bytes.
    pub digest: &'a str,
    /// Its bytes, by the manifest: no more are read.
    pub size: u64,
    /// Its type, by the manifest; none for a config.
    pub media_type: Option<&'a str>,
}

/// A blob that a repository has delivered whole, and whose bytes are those of its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Of a layer: the digest of its uncompressed content. None for a config, and where the compression is not known.
    pub diff_id: Option<String>,
}

/// Why a blob was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The registry refused, failed, or sent something else.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// No byte came for so long.
    #[error("no progress for {}", humantime::format_duration(*.0))]
    Stalled(Duration),
}

impl RegistryClient {
    /// Whether a repository gives the first byte of a blob, asked with this login, or none. Says nothing of what the bytes
    /// are: only the word of the registry that a blob came from counts.
    pub async fn gives(
        &self,
        registry: &str,
        repository: &str,
        digest: &str,
        login: Option<&Login>,
    ) -> bool {
        let host = RegistryHost::parse(registry);
        let Some(target) = host.and_then(|host| Target::new(host, repository)) else {
            return false;
        };
        let asking = self.shared.blob(&target, digest, login);
        match timeout(self.shared.timeouts.total, asking).await {
            Ok(Ok(reply)) => matches!(reply.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Reads a blob whole and checks its digest; keeps nothing of it. Tells `arrived` how many bytes have come each time that
    /// some do. Gives up when none come for `stall`.
    pub async fn deliver(
        &self,
        registry: &str,
        repository: &str,
        blob: Blob<'_>,
        login: Option<&Login>,
        stall: Duration,
        arrived: impl FnMut(u64),
    ) -> Result<Delivered, BlobError> {
        let question = Question {
            registry,
            repository,
            reference: blob.digest,
            login,
        };
        let opening = timeout(stall, self.shared.open(&question));
        let reply = opening.await.map_err(|_| BlobError::Stalled(stall))??;
        receive(&question, reply, blob, stall, arrived).await
    }
}

impl Shared {
    /// The registry's answer with the bytes to come, or what its status means.
    async fn open(&self, question: &Question<'_>) -> Result<Reply, RegistryError> {
        self.permits(question.registry)?;
        let mut target = RegistryHost::parse(question.registry)
            .and_then(|host| Target::new(host, question.repository))
            .ok_or_else(|| question.invalid(InvalidAnswer::Name))?;
        let mut reply = self.content(&target, question).await;
        if target.plain_http && wants_tls(&reply) {
            target.plain_http = false;
            reply = self.content(&target, question).await;
        }
        question.accept(reply)
    }

    async fn content(
        &self,
        target: &Target,
        question: &Question<'_>,
    ) -> Result<Reply, TransportError> {
        let url = target
            .blob_url(question.reference)
            .ok_or(InvalidAnswer::Name)?;
        self.authorized(target, question.login, url, Want::Content)
            .await
    }
}

async fn receive(
    question: &Question<'_>,
    reply: Reply,
    blob: Blob<'_>,
    stall: Duration,
    mut arrived: impl FnMut(u64),
) -> Result<Delivered, BlobError> {
    let other = || {
        question.invalid(InvalidAnswer::Digest {
            expected: blob.digest.into(),
        })
    };
    let mut rest = reply.rest.ok_or_else(other)?;
    let mut check = Check::new(&blob).ok_or_else(other)?;
    let mut came = 0;
    loop {
        let next = timeout(stall, rest.chunk()).await;
        let chunk = next
            .map_err(|_| BlobError::Stalled(stall))?
            .map_err(|error| {
                let error = error.without_url();
                question.unavailable(UnavailableCause::Http(error), None)
            })?;
        let Some(chunk) = chunk else { break };
        came += chunk.len() as u64;
        if came > blob.size {
            return Err(other().into());
        }
        check.take(&chunk);
        arrived(came);
    }
    let diff_id = check.finish().ok_or_else(other)?;
    Ok(Delivered { diff_id })
}

/// Hashes what comes, and what it is uncompressed.
struct Check {
    expected: String,
    digest: String,
    hash: Box<dyn DynDigest + Send>,
    content: Content,
}

/// How the uncompressed content is had of what comes.
enum Content {
    Plain,
    Gzip(Box<MultiGzDecoder<Bounded>>),
    /// No layer, another compression, or not what it is said to be.
    Unknown,
}

impl Check {
    fn new(blob: &Blob<'_>) -> Option<Self> {
        let (algorithm, expected) = blob.digest.split_once(':')?;
        let hash: Box<dyn DynDigest + Send> = match algorithm {
            "sha256" => Box::new(Sha256::new()),
            "sha384" => Box::new(Sha384::new()),
            "sha512" => Box::new(Sha512::new()),
            _ => return None,
        };
        let left = blob.size.saturating_mul(MOST_UNCOMPRESSED).max(LEAST_BOUND);
        let gzip = || {
            let hash = Sha256::new();
            Content::Gzip(Box::new(MultiGzDecoder::new(Bounded { hash, left })))
        };
        let content = match blob.media_type {
            Some(media_type) if media_type.ends_with("gzip") => gzip(),
            Some(media_type) if media_type.ends_with("tar") => Content::Plain,
            _ => Content::Unknown,
        };
        Some(Self {
            expected: expected.to_owned(),
            digest: blob.digest.to_owned(),
            hash,
            content,
        })
    }

    fn take(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        if let Content::Gzip(decoder) = &mut self.content
            && decoder.write_all(chunk).is_err()
        {
            self.content = Content::Unknown;
        }
    }

    /// The digest of the uncompressed content, if it is known; none if what came is not what was expected.
    fn finish(self) -> Option<Option<String>> {
        if hex::encode(self.hash.finalize()) != self.expected {
            return None;
        }
        Some(match self.content {
            Content::Plain if self.digest.starts_with("sha256:") => Some(self.digest),
            Content::Gzip(decoder) => decoder
                .finish()
                .ok()
                .map(|bounded| format!("sha256:{}", hex::encode(bounded.hash.finalize()))),
            Content::Plain | Content::Unknown => None,
        })
    }
}

/// Hashes what is written, up to a bound.
struct Bounded {
    hash: Sha256,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("too much is in it"))?;
        sha2::Digest::update(&mut self.hash, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

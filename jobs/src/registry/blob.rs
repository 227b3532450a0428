//! Layers and configs: whether a repository gives one, and reading one whole, to nowhere.

use std::time::Duration;

use reqwest::StatusCode;
use sha2::digest::DynDigest;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tokio::time::timeout;

use super::auth::Login;
use super::client::{RegistryClient, Shared, truer, wants_tls};
use super::endpoint::{RegistryHost, Target};
use super::error::{InvalidAnswer, RegistryError, UnavailableCause};
use super::question::Question;
use super::transport::{Reply, TransportError};
use super::uncompressed::Content;
use super::want::Want;

/// Uncompressed bytes that are hashed for each compressed byte, at most: a layer of zeros must not keep a worker busy.
const MOST_UNCOMPRESSED: u64 = 100;

/// Uncompressed bytes that are hashed of a small layer, at most.
const LEAST_BOUND: u64 = 64 * 1024 * 1024;

/// A blob of a repository, as the manifest describes it.
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
    /// are: only the word of the registry that a blob came from counts. A registry that is not available, or is asked too
    /// often, says nothing: that is an error.
    pub async fn gives(
        &self,
        registry: &str,
        repository: &str,
        digest: &str,
        login: Option<&Login>,
    ) -> Result<bool, RegistryError> {
        let host = RegistryHost::parse(registry);
        let Some(target) = host.and_then(|host| Target::new(host, repository)) else {
            return Ok(false);
        };
        let question = Question {
            registry,
            repository,
            reference: digest,
            login,
        };
        let total = self.shared.timeouts.total;
        let asking = self.shared.blob(&target, digest, login);
        let Ok(answer) = timeout(total, asking).await else {
            return Err(question.unavailable(UnavailableCause::TimedOut(total), None));
        };
        if matches!(&answer, Ok(reply) if reply.status == StatusCode::PARTIAL_CONTENT) {
            return Ok(true);
        }
        match question.accept(answer) {
            Ok(_) => Ok(true),
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(false),
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
        let target = RegistryHost::parse(question.registry)
            .and_then(|host| Target::new(host, question.repository))
            .ok_or_else(|| question.invalid(InvalidAnswer::Name))?;
        let first = self.content(&target, question).await;
        if target.plain_http && wants_tls(&first) {
            let second = self.content(&target.over_tls(), question).await;
            return question.accept(truer(first, second));
        }
        question.accept(first)
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
        // Unpacking takes long, and other jobs run on this thread too.
        tokio::task::yield_now().await;
    }
    let diff_id = check.finish().map_err(|OtherContent| other())?;
    Ok(Delivered { diff_id })
}

/// The bytes are not those of the digest.
struct OtherContent;

/// Hashes what comes, and what it is uncompressed.
struct Check {
    expected: String,
    hash: Box<dyn DynDigest + Send>,
    content: Content,
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
        let content = match blob.media_type {
            Some(_) => Content::begin(left),
            None => Content::Unknown,
        };
        Some(Self {
            expected: expected.to_owned(),
            hash,
            content,
        })
    }

    fn take(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        self.content.take(chunk);
    }

    /// The digest of the uncompressed content, if it is known.
    fn finish(self) -> Result<Option<String>, OtherContent> {
        if hex::encode(self.hash.finalize()) != self.expected {
            return Err(OtherContent);
        }
        Ok(self.content.finish())
    }
}

//! Layers and configs: whether a repository gives one, and reading one whole, to nowhere.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::timeout;
use wharfinger_entity::Digest;

use super::auth::Login;
use super::client::RegistryClient;
use super::endpoint::Target;
use super::error::{InvalidAnswer, RegistryError, UnavailableCause};
use super::manifest::hasher;
use super::question::Question;
use super::transport::{Reply, Want};
use super::uncompressed::Content;

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
    /// Whether a repository gives a blob, asked with this login, or none. Says nothing of what the bytes are: only the word of
    /// the registry that a blob came from counts. A registry that is not available, or is asked too often, says nothing: that
    /// is an error.
    ///
    /// The registry is asked for the blob's head, which costs it least. Any answer but a yes is not the last word: one that keeps
    /// its blobs elsewhere redirects, often to where only a GET is signed. So it is asked for the first byte then, and one that
    /// redirected once for nothing else.
    pub async fn gives(
        &self,
        registry: &str,
        repository: &str,
        digest: &str,
        login: Option<&Login>,
    ) -> Result<bool, RegistryError> {
        let Some(mut target) = Target::new(registry, repository) else {
            return Ok(false);
        };
        let question = Question {
            registry,
            repository,
            reference: digest,
            login,
        };
        let shared = &self.shared;
        if shared.redirecting.get(&registry.to_owned()).is_none() {
            let asking = shared.ask(&mut target, digest, login, Want::Head);
            match question.within(shared.timeouts.connect, asking).await {
                Ok(Ok(reply)) if reply.status == StatusCode::OK => return Ok(true),
                Ok(Ok(reply)) if reply.status == StatusCode::TOO_MANY_REQUESTS => {
                    return question.accept(Ok(reply)).map(|_| true);
                }
                Ok(Ok(reply)) if reply.status.is_redirection() => {
                    shared.redirecting.insert(registry.to_owned(), ());
                }
                Ok(_) | Err(_) => {}
            }
        }
        let asking = shared.ask(&mut target, digest, login, Want::FirstByte);
        let answer = question.within(shared.timeouts.total, asking).await?;
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
        let mut target = self.shared.target(&question)?;
        let asking = self
            .shared
            .ask(&mut target, blob.digest, login, Want::Content);
        let reply = timeout(stall, asking)
            .await
            .map_err(|_| BlobError::Stalled(stall))?;
        receive(&question, question.accept(reply)?, blob, stall, arrived).await
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
    let digest = Digest::parse(blob.digest).map_err(|_| other())?;
    let mut hash = hasher(digest.algorithm());
    let most = blob.size.saturating_mul(MOST_UNCOMPRESSED).max(LEAST_BOUND);
    let mut content = match blob.media_type {
        Some(_) => Content::begin(most),
        None => Content::Unknown,
    };
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
        hash.update(&chunk);
        content.take(&chunk);
        arrived(came);
        // Unpacking takes long, and other jobs run on this thread too.
        tokio::task::yield_now().await;
    }
    if hex::encode(hash.finalize()) != digest.hex() {
        return Err(other().into());
    }
    let diff_id = content.finish();
    Ok(Delivered { diff_id })
}

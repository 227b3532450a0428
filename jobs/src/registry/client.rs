//! The client: one manifest, read with one user's login.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use oci_spec::image::ImageIndex;
use reqwest::StatusCode;
use reqwest::dns::Resolve;
use reqwest::header::HeaderValue;
use tokio::time::Instant;
use url::Url;
use wharfinger_entity::Digest;

use super::auth::{Grant, Login};
use super::cache::Bounded;
use super::endpoint::{RegistryHost, Target};
use super::error::{InvalidAnswer, RegistryError, UnavailableCause};
use super::manifest::{Document, Manifest, PlatformManifest, read, urls, verified_digest};
use super::platform::Platform;
use super::question::Question;
use super::rules::RegistryRules;
use super::transport::{Reply, SystemResolver, Transport, TransportError, VetError};
use super::want::Want;

const MAX_TOKENS: usize = 4096;
const MAX_MANIFESTS: usize = 512;

/// How long a registry may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For a manifest, with everything that it takes: tokens, redirects, an index.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(20),
        }
    }
}

/// Reads manifests from registries. Clones share connections, tokens and what is known of platforms' manifests.
#[derive(Clone)]
pub struct RegistryClient {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    rules: Arc<RegistryRules>,
    pub(super) timeouts: Timeouts,
    pub(super) transport: Transport,
    pub(super) authorizations: Bounded<Grant, (HeaderValue, Instant)>,
    /// By digest, and by who was given it: a repository of a registry, read with one login or with none.
    manifests: Bounded<(Grant, Digest), Arc<PlatformManifest>>,
}

impl RegistryClient {
    /// A client that looks names up as the system does.
    pub fn new(rules: RegistryRules, timeouts: Timeouts) -> Self {
        Self::with_resolver(rules, timeouts, Arc::new(SystemResolver))
    }

    /// A client with a resolver of its own. It connects only to addresses that the rules permit.
    pub fn with_resolver(
        rules: RegistryRules,
        timeouts: Timeouts,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let rules = Arc::new(rules);
        Self {
            shared: Arc::new(Shared {
                transport: Transport::new(rules.clone(), resolver, timeouts.connect),
                rules,
                timeouts,
                authorizations: Bounded::new(MAX_TOKENS),
                manifests: Bounded::new(MAX_MANIFESTS),
            }),
        }
    }

    /// Asks the registry what a tag or digest means on a platform, always anew and with this login, or none.
    ///
    /// Costs one request when connection and token are warm, and a second one for an index whose platform manifest
    /// was not seen before. `registry` is as in references (`docker.io`, `localhost:5000`).
    pub async fn manifest(
        &self,
        registry: &str,
        repository: &str,
        reference: &str,
        login: Option<&Login>,
        platform: &Platform,
    ) -> Result<Manifest, RegistryError> {
        let question = Question {
            registry,
            repository,
            reference,
            login,
        };
        let total = self.shared.timeouts.total;
        match tokio::time::timeout(total, self.shared.read(&question, platform)).await {
            Ok(answer) => answer,
            Err(_) => Err(question.unavailable(UnavailableCause::TimedOut(total), None)),
        }
    }

    /// Fails unless the rules permit every address that a registry's name resolves to now: an engine, which connects by
    /// itself, may choose any of them.
    pub async fn vet(&self, registry: &str) -> Result<(), RegistryError> {
        let question = Question {
            registry,
            repository: "",
            reference: "",
            login: None,
        };
        self.shared.rules.permits_name(registry)?;
        let host =
            RegistryHost::parse(registry).ok_or_else(|| question.invalid(InvalidAnswer::Name))?;
        let total = self.shared.timeouts.connect;
        match tokio::time::timeout(total, self.shared.transport.vet(&host)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(VetError::NotAllowed(refused))) => Err(refused.into()),
            Ok(Err(VetError::LookUp(error))) => {
                Err(question.unavailable(UnavailableCause::LookUp(error), None))
            }
            Err(_) => Err(question.unavailable(UnavailableCause::TimedOut(total), None)),
        }
    }
}

impl fmt::Debug for RegistryClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryClient")
            .field("rules", &self.shared.rules)
            .field("timeouts", &self.shared.timeouts)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether the rules permit asking a registry of this name.
    pub(super) fn permits(&self, registry: &str) -> Result<(), RegistryError> {
        Ok(self.rules.permits_name(registry)?)
    }

    async fn read(
        &self,
        question: &Question<'_>,
        platform: &Platform,
    ) -> Result<Manifest, RegistryError> {
        self.permits(question.registry)?;
        let mut target = RegistryHost::parse(question.registry)
            .and_then(|host| Target::new(host, question.repository))
            .ok_or_else(|| question.invalid(InvalidAnswer::Name))?;

        let mut first = self.get(question, &target, question.reference).await;
        if target.plain_http && wants_tls(&first) {
            let over_tls = target.over_tls();
            let second = self.get(question, &over_tls, question.reference).await;
            if speaks_tls(&first, &second) {
                (target, first) = (over_tls, second);
            }
        }
        let first = question.accept(first)?;
        let invalid = |reason| question.invalid(reason);
        let digest =
            verified_digest(question.reference, &first.headers, &first.body).map_err(invalid)?;
        let document = read(&first.headers, &first.body).map_err(invalid)?;
        let (platform_digest, mut urls, image) = match document {
            Document::Image(image) => (digest.clone(), Vec::new(), Arc::new(image)),
            Document::Index(index) => {
                self.of_platform(question, &target, &index, platform)
                    .await?
            }
        };
        Ok(Manifest {
            digest,
            platform_digest,
            config_digest: image.config_digest.clone(),
            config_size: image.config_size,
            layers: image.layers.clone(),
            compressed_size: image.compressed_size,
            urls: {
                urls.extend_from_slice(&image.urls);
                urls
            },
        })
    }

    async fn of_platform(
        &self,
        question: &Question<'_>,
        target: &Target,
        index: &ImageIndex,
        platform: &Platform,
    ) -> Result<(Digest, Vec<Url>, Arc<PlatformManifest>), RegistryError> {
        let entry = platform
            .choose(index)
            .ok_or_else(|| RegistryError::NoPlatform {
                image: question.image(),
                wanted: platform.clone(),
                available: Platform::list(index),
            })?;
        let digest = Digest::parse(entry.digest().as_ref()).map_err(|_| {
            question.invalid(InvalidAnswer::Manifest(
                "its index has a digest that no engine knows",
            ))
        })?;
        let urls = urls(entry).collect();
        let key = (Grant::new(target, question.login), digest.clone());
        if let Some(known) = self.manifests.get(&key) {
            return Ok((digest, urls, known));
        }
        let reply = question.accept(self.get(question, target, &digest).await)?;
        let invalid = |reason| question.invalid(reason);
        verified_digest(&digest, &reply.headers, &reply.body).map_err(invalid)?;
        match read(&reply.headers, &reply.body).map_err(invalid)? {
            Document::Image(image) => {
                let image = Arc::new(image);
                self.manifests.insert(key, image.clone());
                Ok((digest, urls, image))
            }
            Document::Index(_) => Err(invalid(InvalidAnswer::Manifest(
                "its index leads to another index",
            ))),
        }
    }

    /// One manifest.
    async fn get(
        &self,
        question: &Question<'_>,
        target: &Target,
        reference: &str,
    ) -> Result<Reply, TransportError> {
        let url = target.manifest_url(reference).ok_or(InvalidAnswer::Name)?;
        self.authorized(target, question.login, url, Want::Document)
            .await
    }
}

/// Plain HTTP was not what a loopback registry speaks: no HTTP came back, or Go's 400 to a request without TLS.
pub(super) fn wants_tls(reply: &Result<Reply, TransportError>) -> bool {
    match reply {
        Ok(reply) => {
            reply.status == StatusCode::BAD_REQUEST
                && reply.body.windows(12).any(|text| text == b"HTTPS server")
        }
        Err(TransportError::Http(error)) => !error.is_connect() && !error.is_timeout(),
        Err(_) => false,
    }
}

/// Whether what was asked without TLS, and then with it, speaks TLS. Where it does not, the first answer is the true one: the
/// second only says that TLS was not understood.
fn speaks_tls(
    first: &Result<Reply, TransportError>,
    second: &Result<Reply, TransportError>,
) -> bool {
    match second {
        // It said so by itself.
        _ if first.is_ok() => true,
        Err(TransportError::Http(error)) => is_answered_in_tls(error),
        Ok(_) | Err(_) => true,
    }
}

/// The answer that counts of those without TLS and with it.
pub(super) fn truer(
    first: Result<Reply, TransportError>,
    second: Result<Reply, TransportError>,
) -> Result<Reply, TransportError> {
    if speaks_tls(&first, &second) {
        second
    } else {
        first
    }
}

/// Whether TLS failed on what the other side said in TLS: its certificate, or an alert.
fn is_answered_in_tls(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return !matches!(error, rustls::Error::InvalidMessage(_));
        }
        // `source` of an input error passes over the error that it was made of.
        let wrapped = inner
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    false
}

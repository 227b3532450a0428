//! The client: one manifest, read with one user's login.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use oci_spec::image::ImageIndex;
use reqwest::dns::Resolve;
use reqwest::header::HeaderValue;
use tokio::time::Instant;
use wharfinger_entity::Digest;

use super::auth::{Grant, Login};
use super::cache::Bounded;
use super::endpoint::{RegistryHost, Target};
use super::error::{InvalidAnswer, RegistryError};
use super::manifest::{ACCEPT, Document, Manifest, read, urls};
use super::platform::Platform;
use super::question::Question;
use super::rules::RegistryRules;
use super::transport::{SystemResolver, Transport, Want};

const MAX_TOKENS: usize = 4096;
const MAX_MANIFESTS: usize = 512;
const MAX_REGISTRIES: usize = 64;

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
    /// Registries that redirect whoever asks for a blob's head.
    pub(super) redirecting: Bounded<String, ()>,
    /// By digest, and by who was given it: a repository of a registry, read with one login or with none.
    manifests: Bounded<(Grant, Digest), Manifest>,
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
                redirecting: Bounded::new(MAX_REGISTRIES),
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
        let reading = self.shared.read(&question, platform);
        question.within(self.shared.timeouts.total, reading).await?
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
        let vetting = self.shared.transport.vet(&host);
        let vetted = question.within(self.shared.timeouts.connect, vetting);
        vetted.await?.map_err(|error| question.failure(error))
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
    /// Where the image of a question is, if the rules permit asking there.
    pub(super) fn target(&self, question: &Question<'_>) -> Result<Target, RegistryError> {
        self.rules.permits_name(question.registry)?;
        Target::new(question.registry, question.repository)
            .ok_or_else(|| question.invalid(InvalidAnswer::Name))
    }

    async fn read(
        &self,
        question: &Question<'_>,
        platform: &Platform,
    ) -> Result<Manifest, RegistryError> {
        let mut target = self.target(question)?;
        match self
            .document(question, &mut target, question.reference)
            .await?
        {
            Document::Image(manifest) => Ok(manifest),
            Document::Index(digest, index) => {
                let manifest = self.of_platform(question, target, &index, platform).await?;
                Ok(Manifest { digest, ..manifest })
            }
        }
    }

    async fn of_platform(
        &self,
        question: &Question<'_>,
        mut target: Target,
        index: &ImageIndex,
        platform: &Platform,
    ) -> Result<Manifest, RegistryError> {
        let entry = platform
            .choose(index)
            .ok_or_else(|| RegistryError::NoPlatform {
                image: question.image(),
                wanted: platform.clone(),
                available: Platform::list(index),
            })?;
        let invalid = |reason| question.invalid(InvalidAnswer::Manifest(reason));
        let digest = Digest::parse(entry.digest().as_ref())
            .map_err(|_| invalid("its index has a digest that no engine knows"))?;
        let key = (Grant::new(&target, question.login), digest.clone());
        let manifest = if let Some(known) = self.manifests.get(&key) {
            known
        } else {
            match self.document(question, &mut target, &digest).await? {
                Document::Image(manifest) => {
                    self.manifests.insert(key, manifest.clone());
                    manifest
                }
                Document::Index(..) => return Err(invalid("its index leads to another index")),
            }
        };
        let urls = urls(entry).chain(manifest.urls).collect();
        Ok(Manifest { urls, ..manifest })
    }

    async fn document(
        &self,
        question: &Question<'_>,
        target: &mut Target,
        reference: &str,
    ) -> Result<Document, RegistryError> {
        let want = Want::Document(ACCEPT);
        let reply = self.ask(target, reference, question.login, want).await;
        let reply = question.accept(reply)?;
        read(reference, &reply.headers, &reply.body).map_err(|reason| question.invalid(reason))
    }
}

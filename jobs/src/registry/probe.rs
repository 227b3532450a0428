//! Asking, before an engine does, where the parts of an image come from: a registry may hand them out itself, redirect to a
//! storage, or name other addresses in the manifest, and an engine goes wherever it is sent.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use url::{Host, Url};

use super::auth::Login;
use super::client::{RegistryClient, Shared};
use super::endpoint::{RegistryHost, Target, canonical_host};
use super::error::InvalidAnswer;
use super::manifest::Manifest;
use super::rules::NotAllowed;
use super::transport::{Reply, Transport, TransportError, Want};

/// Parts of an image that are asked for at a time.
const AT_A_TIME: usize = 8;

/// A layer or config: in the registry, or where the manifest says that it may be fetched from as well.
enum Part<'a> {
    Blob(&'a str),
    Url(&'a Url),
}

impl RegistryClient {
    /// Asks for the first byte of each part of an image, as an engine will with this login, or none, and follows every
    /// redirect that the rules permit.
    ///
    /// A forbidden address is an error. Other failures are not: the engine's own pull will show them.
    pub async fn probe(
        &self,
        registry: &str,
        repository: &str,
        manifest: &Manifest,
        login: Option<&Login>,
    ) -> Result<(), NotAllowed> {
        let Some(target) = Target::new(registry, repository) else {
            return Ok(());
        };
        let layers = manifest.layers.iter().map(|layer| &*layer.digest);
        let mut digests: Vec<_> = iter::once(&*manifest.config_digest).chain(layers).collect();
        digests.sort_unstable();
        digests.dedup();
        let blobs = digests.into_iter().map(Part::Blob);
        let parts = blobs.chain(manifest.urls.iter().map(Part::Url));
        let asked: Vec<_> = parts
            .map(|part| self.shared.judge(target.clone(), part, login))
            .collect();
        let all = stream::iter(asked)
            .buffer_unordered(AT_A_TIME)
            .try_collect::<()>();
        let judged = tokio::time::timeout(self.shared.timeouts.total, all).await;
        judged.unwrap_or(Ok(()))
    }
}

impl Shared {
    async fn judge(
        &self,
        mut target: Target,
        part: Part<'_>,
        login: Option<&Login>,
    ) -> Result<(), NotAllowed> {
        let answer = match part {
            Part::Blob(digest) => self.ask(&mut target, digest, login, Want::FirstByte).await,
            Part::Url(url) if matches!(url.scheme(), "http" | "https") => {
                self.transport.probe_elsewhere(url.clone()).await
            }
            // Engines pass over what they do not speak.
            Part::Url(_) => return Ok(()),
        };
        match answer {
            Err(TransportError::NotAllowed(forbidden)) => Err(forbidden),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

impl Transport {
    /// Looks a registry's name up, and fails unless the rules permit every address that it resolves to.
    pub(super) async fn vet(&self, registry: &RegistryHost) -> Result<(), TransportError> {
        match &registry.host {
            // Judged with the name: `localhost` always means the loopback (RFC 6761, 6.3).
            _ if registry.is_loopback() => Ok(()),
            Host::Ipv4(_) | Host::Ipv6(_) => Ok(()),
            Host::Domain(_) => {
                self.vet_name(&registry.host, &registry.api_host(), registry.port())
                    .await
            }
        }
    }

    /// The same for a name, which the rules know as `host`.
    async fn vet_name(
        &self,
        host: &Host<String>,
        name: &str,
        port: u16,
    ) -> Result<(), TransportError> {
        let failed = |reason: String| TransportError::LookUp(reason.into());
        let name = name
            .parse()
            .map_err(|_| failed(InvalidAnswer::Name.to_string()))?;
        let found = self.resolver.resolve(name).await;
        for address in found.map_err(|error| failed(error.to_string()))? {
            let address = SocketAddr::new(address.ip(), port);
            self.rules.permits_connection(host, address)?;
        }
        Ok(())
    }

    /// Gets the first byte of a URL that is not the registry's.
    async fn probe_elsewhere(&self, url: Url) -> Result<Reply, TransportError> {
        self.vet_hop(&url).await?;
        self.get(url, Want::FirstByte, None).await
    }

    /// Judges every address that a URL's host has: an engine takes any of them.
    pub(super) async fn vet_hop(&self, url: &Url) -> Result<(), TransportError> {
        let (Some(Host::Domain(name)), Some(port)) = (url.host(), url.port_or_known_default())
        else {
            // An address is judged when it is asked.
            return Ok(());
        };
        let Some(host) = canonical_host(&Host::Domain(name)) else {
            return Ok(());
        };
        // `localhost` always means the loopback (RFC 6761, 6.3): a rule for one of its addresses is enough.
        if name == "localhost" {
            let loopback = [
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ];
            let judged = loopback.map(|ip| {
                let address = SocketAddr::new(ip, port);
                self.rules.permits_connection(&host, address)
            });
            return match judged {
                [Err(forbidden), Err(_)] => Err(forbidden.into()),
                _ => Ok(()),
            };
        }
        match self.vet_name(&host, name, port).await {
            // A name that leads nowhere leads the engine nowhere.
            Err(TransportError::LookUp(_)) => Ok(()),
            vetted => vetted,
        }
    }
}

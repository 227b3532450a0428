//! Asking, before an engine does, where the parts of an image come from: a registry may hand them out itself, redirect to a
//! storage, or name other addresses in the manifest, and an engine goes wherever it is sent.

use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures::{StreamExt as _, stream};
use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use url::{Host, Url};

use super::auth::Login;
use super::client::{RegistryClient, Shared, truer, wants_tls};
use super::endpoint::{RegistryHost, Target, canonical_host};
use super::error::InvalidAnswer;
use super::manifest::Manifest;
use super::rules::NotAllowed;
use super::span;
use super::transport::{Reply, Transport, TransportError, VetError, is_redirect, read};
use super::want::Want;

/// Parts of an image that are asked for at a time.
const AT_A_TIME: usize = 8;

/// Requests for one part. Engines make eleven (Go's `http.Client` stops after ten redirects).
const MAX_HOPS: usize = 11;

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
        let host = RegistryHost::parse(registry);
        let Some(target) = host.and_then(|host| Target::new(host, repository)) else {
            return Ok(());
        };
        let layers = manifest.layers.iter().map(|layer| &*layer.digest);
        let mut digests: Vec<_> = iter::once(&*manifest.config_digest).chain(layers).collect();
        digests.sort_unstable();
        digests.dedup();
        let blobs = digests.into_iter().map(Part::Blob);
        let parts = blobs.chain(manifest.urls.iter().map(Part::Url));
        let asked: Vec<_> = parts
            .map(|part| self.shared.forbidden(&target, part, login))
            .collect();
        let asked = stream::iter(asked).buffer_unordered(AT_A_TIME);
        let first = async {
            let mut asked = std::pin::pin!(asked);
            while let Some(forbidden) = asked.next().await {
                if forbidden.is_some() {
                    return forbidden;
                }
            }
            None
        };
        match tokio::time::timeout(self.shared.timeouts.total, first).await {
            Ok(Some(forbidden)) => Err(forbidden),
            Ok(None) | Err(_) => Ok(()),
        }
    }
}

impl Shared {
    async fn forbidden(
        &self,
        target: &Target,
        part: Part<'_>,
        login: Option<&Login>,
    ) -> Option<NotAllowed> {
        let answer = match part {
            Part::Blob(digest) => self.blob(target, digest, login).await,
            Part::Url(url) if is_http(url) => self.transport.probe_elsewhere(url.clone()).await,
            // Engines pass over what they do not speak.
            Part::Url(_) => return None,
        };
        match answer {
            Err(TransportError::NotAllowed(forbidden)) => Some(forbidden),
            Ok(_) | Err(_) => None,
        }
    }

    pub(super) async fn blob(
        &self,
        target: &Target,
        digest: &str,
        login: Option<&Login>,
    ) -> Result<Reply, TransportError> {
        let first = self.first_byte(target, digest, login).await;
        if target.plain_http && wants_tls(&first) {
            let second = self.first_byte(&target.over_tls(), digest, login).await;
            return truer(first, second);
        }
        first
    }

    pub(super) async fn first_byte(
        &self,
        target: &Target,
        digest: &str,
        login: Option<&Login>,
    ) -> Result<Reply, TransportError> {
        let url = target.blob_url(digest).ok_or(InvalidAnswer::Name)?;
        self.authorized(target, login, url, Want::FirstByte).await
    }
}

impl Transport {
    /// Gets the first byte of a URL of the registry, following redirects, from HTTPS to HTTP too, which an engine does.
    /// The authorization goes to the first origin only.
    pub(super) async fn probe(
        &self,
        url: Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, TransportError> {
        // Of a server that knows no ranges no more is read than it sends before the connection is closed.
        let range = Some("bytes=0-0");
        let (mut response, elsewhere) = self.as_engine(url, authorization, range).await?;
        // It says whether the server wants TLS.
        if response.status() == StatusCode::BAD_REQUEST {
            return read(response, elsewhere).await;
        }
        Ok(Reply {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Vec::new(),
            elsewhere,
            rest: None,
        })
    }

    /// Begins to get a URL of the registry whole, by the same way. The bytes of a success are left to be read.
    pub(super) async fn open(
        &self,
        url: Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, TransportError> {
        let (mut response, elsewhere) = self.as_engine(url, authorization, None).await?;
        if response.status() != StatusCode::OK {
            return read(response, elsewhere).await;
        }
        Ok(Reply {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Vec::new(),
            elsewhere,
            rest: Some(response),
        })
    }

    /// Gets a URL as an engine would. Says whether the answer is from another origin.
    async fn as_engine(
        &self,
        mut url: Url,
        mut authorization: Option<HeaderValue>,
        range: Option<&'static str>,
    ) -> Result<(Response, bool), TransportError> {
        let origin = url.origin();
        for _ in 0..MAX_HOPS {
            let elsewhere = url.origin() != origin;
            if elsewhere {
                authorization = None;
                self.vet_hop(&url).await?;
            }
            let mut request = self.client_for(&url)?.get(url.clone());
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = span::send(request, &url)
                .await
                .map_err(TransportError::from)?;
            if !is_redirect(response.status()) {
                return Ok((response, elsewhere));
            }
            url = next_hop(&url, &response)
                .ok_or(InvalidAnswer::Redirect("to where no engine follows"))?;
        }
        Err(InvalidAnswer::Redirect("too often").into())
    }

    /// The same for a URL that is not the registry's.
    async fn probe_elsewhere(&self, url: Url) -> Result<Reply, TransportError> {
        self.vet_hop(&url).await?;
        self.probe(url, None).await
    }

    /// Judges every address that a URL's host has: an engine takes any of them.
    async fn vet_hop(&self, url: &Url) -> Result<(), TransportError> {
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
            let mut judged = loopback
                .map(|ip| {
                    self.rules
                        .permits_connection(&host, SocketAddr::new(ip, port))
                })
                .into_iter();
            return judged
                .find(Result::is_ok)
                .unwrap_or_else(|| {
                    Err(NotAllowed::Address {
                        registry: host.to_string().into(),
                    })
                })
                .map_err(TransportError::NotAllowed);
        }
        match self.vet_name(&host, name, port).await {
            Err(VetError::NotAllowed(forbidden)) => Err(TransportError::NotAllowed(forbidden)),
            // A name that leads nowhere leads the engine nowhere.
            Ok(()) | Err(VetError::LookUp(_)) => Ok(()),
        }
    }
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn next_hop(from: &Url, response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?;
    let location = String::from_utf8_lossy(location.as_bytes());
    let mut next = from.join(&location).ok().filter(is_http)?;
    // A user name in it would become a login.
    next.set_username("").ok()?;
    next.set_password(None).ok()?;
    Some(next)
}

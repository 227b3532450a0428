//! HTTP that goes only where the rules permit: every hop by name, every connection by address.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode};
use url::{Host, Url};
use wharfinger_entity::CleanText;

use super::cache::Bounded;
use super::endpoint::{RegistryHost, canonical_host};
use super::error::InvalidAnswer;
use super::rules::{NotAllowed, RegistryRules};
use super::span;

/// The limit that registries themselves put on a manifest (OCI distribution-spec, "Pushing Manifests").
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Bytes that are read of a refusal: enough to see which program answered.
const MAX_REFUSAL: usize = 64 * 1024;
const MAX_HOPS: usize = 5;
/// Ports that clients are kept for; a fleet knows two or three.
const MAX_CLIENTS: usize = 32;

/// One answer, whole.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// A redirect led to another scheme, host or port: what is asked there is not for the registry's login.
    pub(super) elsewhere: bool,
    /// The rest of an answer that is longer than what fits into memory.
    pub(super) rest: Option<Response>,
}

#[derive(Debug)]
pub(super) enum TransportError {
    NotAllowed(NotAllowed),
    Http(reqwest::Error),
    Invalid(InvalidAnswer),
}

/// Why a registry's name is not to be connected to.
#[derive(Debug)]
pub(super) enum VetError {
    NotAllowed(NotAllowed),
    LookUp(CleanText),
}

/// Keeps one HTTP client for each (TLS, port). A resolver is told a name but not the port, and the rules speak of
/// ports: so each port has its own resolver, and with it its own connections. What is in a pool was checked when
/// it was connected.
pub(super) struct Transport {
    pub(super) rules: Arc<RegistryRules>,
    resolver: Arc<dyn Resolve>,
    connect_timeout: Duration,
    clients: Bounded<(bool, u16), Client>,
}

impl Transport {
    pub(super) fn new(
        rules: Arc<RegistryRules>,
        resolver: Arc<dyn Resolve>,
        connect_timeout: Duration,
    ) -> Self {
        ensure_crypto_provider();
        Self {
            rules,
            resolver,
            connect_timeout,
            clients: Bounded::new(MAX_CLIENTS),
        }
    }

    /// Gets a URL, following redirects. The authorization goes to the first origin only.
    pub(super) async fn get(
        &self,
        mut url: Url,
        accept: &'static str,
        mut authorization: Option<HeaderValue>,
    ) -> Result<Reply, TransportError> {
        let origin = url.origin();
        for _ in 0..MAX_HOPS {
            let elsewhere = url.origin() != origin;
            if elsewhere {
                authorization = None;
            }
            let mut request = self
                .client_for(&url)?
                .get(url.clone())
                .header(ACCEPT, accept);
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = span::send(request, &url)
                .await
                .map_err(TransportError::from)?;
            match next_hop(&url, &response)? {
                Some(next) => url = next,
                None => return read(response, elsewhere).await,
            }
        }
        Err(InvalidAnswer::Redirect("too often").into())
    }

    /// Looks a registry's name up, and fails unless the rules permit every address that it resolves to.
    pub(super) async fn vet(&self, registry: &RegistryHost) -> Result<(), VetError> {
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
    pub(super) async fn vet_name(
        &self,
        host: &Host<String>,
        name: &str,
        port: u16,
    ) -> Result<(), VetError> {
        let failed = |error: &dyn StdError| VetError::LookUp(error.to_string().into());
        let name = name.parse().map_err(|_| failed(&InvalidAnswer::Name))?;
        let found = self.resolver.resolve(name).await;
        for address in found.map_err(|error| failed(&*error))? {
            let address = SocketAddr::new(address.ip(), port);
            self.rules
                .permits_connection(host, address)
                .map_err(VetError::NotAllowed)?;
        }
        Ok(())
    }

    pub(super) fn client_for(&self, url: &Url) -> Result<Client, TransportError> {
        let nowhere = || InvalidAnswer::Redirect("to where no host is");
        let host = url
            .host()
            .and_then(|host| canonical_host(&host))
            .ok_or_else(nowhere)?;
        let port = url.port_or_known_default().ok_or_else(nowhere)?;
        // The resolver never sees a literal address.
        self.rules
            .permits_hop(&host, port)
            .map_err(TransportError::NotAllowed)?;
        let key = (url.scheme() == "https", port);
        if let Some(client) = self.clients.get(&key) {
            return Ok(client);
        }
        let resolver = Guarded {
            rules: self.rules.clone(),
            inner: self.resolver.clone(),
            port,
        };
        // A proxy would connect where we could not look.
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .user_agent(concat!("wharfinger/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(resolver));
        if !key.0 {
            // Plain connections need no certificates, and must work where none are installed.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(TransportError::from)?;
        self.clients.insert(key, client.clone());
        Ok(client)
    }
}

/// Installs ring as rustls' provider unless there is one: reqwest panics without. The binary installs the same at its start.
pub(crate) fn ensure_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have been faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn next_hop(from: &Url, response: &Response) -> Result<Option<Url>, InvalidAnswer> {
    if !is_redirect(response.status()) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION);
    let mut next = location
        .and_then(|value| from.join(value.to_str().ok()?).ok())
        .ok_or(InvalidAnswer::Redirect("without saying where"))?;
    if next.scheme() != "https" && next.scheme() != from.scheme() {
        return Err(InvalidAnswer::Redirect("from HTTPS to something else"));
    }
    // A user name in it would become a login.
    let stripped = next.set_username("").and_then(|()| next.set_password(None));
    stripped.map_err(|()| InvalidAnswer::Redirect("to where no host is"))?;
    Ok(Some(next))
}

pub(super) async fn read(mut response: Response, elsewhere: bool) -> Result<Reply, TransportError> {
    let most = if response.status().is_success() {
        MAX_BODY
    } else {
        MAX_REFUSAL
    };
    let too_large = || TransportError::from(InvalidAnswer::TooLarge(MAX_BODY));
    if most == MAX_BODY && response.content_length() > Some(MAX_BODY as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(TransportError::from)? {
        let room = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            if most == MAX_BODY {
                return Err(too_large());
            }
            // The status says it already.
            break;
        }
    }
    Ok(Reply {
        status: response.status(),
        headers: std::mem::take(response.headers_mut()),
        body,
        elsewhere,
        rest: None,
    })
}

impl From<InvalidAnswer> for TransportError {
    fn from(invalid: InvalidAnswer) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<reqwest::Error> for TransportError {
    /// Finds the resolver's refusal again; and leaves out the URL, whose query may hold a signature.
    fn from(error: reqwest::Error) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(refused) = inner.downcast_ref::<NotAllowed>() {
                return Self::NotAllowed(refused.clone());
            }
            cause = inner.source();
        }
        Self::Http(error.without_url())
    }
}

/// Passes on only those addresses that the rules permit for one port. The connection is made to what this returns,
/// so a name that changes its mind between two look-ups gains nothing.
struct Guarded {
    pub(super) rules: Arc<RegistryRules>,
    inner: Arc<dyn Resolve>,
    port: u16,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let host = canonical_host(&Host::Domain(name.as_str()));
        let (rules, port) = (self.rules.clone(), self.port);
        let found = self.inner.resolve(name);
        Box::pin(async move {
            let host = host.ok_or("no host name")?;
            let mut refused = None;
            let mut permitted = Vec::new();
            for address in found.await? {
                let address = SocketAddr::new(address.ip(), port);
                match rules.permits_connection(&host, address) {
                    Ok(()) => permitted.push(address),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(error) if permitted.is_empty() => Err(error.into()),
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

/// The system's own resolver.
pub(super) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<_> = found.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

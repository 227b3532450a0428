//! HTTP that goes only where the rules permit: every hop by name, every connection by address.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode};
use url::{Host, Url};
use wharfinger_entity::CleanText;

use super::cache::Bounded;
use super::endpoint::canonical_host;
use super::error::InvalidAnswer;
use super::rules::{NotAllowed, RegistryRules};
use super::span;

/// The limit that registries themselves put on a manifest (OCI distribution-spec, "Pushing Manifests").
const MAX_BODY: usize = 4 * 1024 * 1024;
/// Bytes that are read of a refusal: enough to see which program answered.
const MAX_REFUSAL: usize = 64 * 1024;
/// Requests for a document.
const MAX_HOPS: usize = 5;
/// Requests for a part of an image. Engines make eleven (Go's `http.Client` stops after ten redirects).
const ENGINE_HOPS: usize = 11;
/// Ports that clients are kept for; a fleet knows two or three.
const MAX_CLIENTS: usize = 32;

/// What a request is made for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    /// A document of one of these types, whole.
    Document(&'static str),
    /// Of a part of an image no more than whether the registry itself says that it is there.
    Head,
    /// Of a part of an image no more than whether it is there, and where.
    FirstByte,
    /// A part of an image, whose bytes are left to be read.
    Content,
}

/// One answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// A redirect led to another scheme, host or port: what is asked there is not for the registry's login.
    pub(super) elsewhere: bool,
    /// The content, to be read.
    pub(super) rest: Option<Response>,
}

/// Why there is no answer, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    #[error("the name could not be looked up: {0}")]
    LookUp(CleanText),
    #[error(transparent)]
    Http(reqwest::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidAnswer),
}

/// Keeps one HTTP client for each (TLS, port). A resolver is told a name but not the port, and the rules speak of
/// ports: so each port has its own resolver, and with it its own connections. What is in a pool was checked when
/// it was connected.
pub(super) struct Transport {
    pub(super) rules: Arc<RegistryRules>,
    pub(super) resolver: Arc<dyn Resolve>,
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

    /// Gets a URL, following redirects. The authorization goes to the first origin only. A part of an image is got as an
    /// engine would, which goes from HTTPS to HTTP too; every address of where it is sent to is judged.
    pub(super) async fn get(
        &self,
        mut url: Url,
        want: Want,
        mut authorization: Option<HeaderValue>,
    ) -> Result<Reply, TransportError> {
        let origin = url.origin();
        let as_engine = !matches!(want, Want::Document(_));
        let hops = if as_engine { ENGINE_HOPS } else { MAX_HOPS };
        for _ in 0..hops {
            let elsewhere = url.origin() != origin;
            if elsewhere {
                authorization = None;
                if as_engine {
                    self.vet_hop(&url).await?;
                }
            }
            let client = self.client_for(&url)?;
            let mut request = match want {
                Want::Document(accept) => client.get(url.clone()).header(ACCEPT, accept),
                Want::Head => client.head(url.clone()),
                // Of a server that knows no ranges no more is read than it sends before the connection is closed.
                Want::FirstByte => client.get(url.clone()).header(RANGE, "bytes=0-0"),
                Want::Content => client.get(url.clone()),
            };
            if let Some(value) = &authorization {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = span::send(request, &url).await?;
            let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !redirects || matches!(want, Want::Head) {
                return Reply::of(response, want, elsewhere).await;
            }
            url = next_hop(&url, &response, as_engine)?;
        }
        Err(InvalidAnswer::Redirect("too often").into())
    }

    fn client_for(&self, url: &Url) -> Result<Client, TransportError> {
        let nowhere = || InvalidAnswer::Redirect("to where no host is");
        let host = url
            .host()
            .and_then(|host| canonical_host(&host))
            .ok_or_else(nowhere)?;
        let port = url.port_or_known_default().ok_or_else(nowhere)?;
        // The resolver never sees a literal address.
        self.rules.permits_hop(&host, port)?;
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
        let client = builder.build()?;
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

fn next_hop(from: &Url, response: &Response, as_engine: bool) -> Result<Url, InvalidAnswer> {
    let location = response.headers().get(LOCATION);
    let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let mut next = location
        .and_then(|location| from.join(&location).ok())
        .ok_or(InvalidAnswer::Redirect("without saying where"))?;
    match next.scheme() {
        "https" => {}
        "http" if as_engine || from.scheme() == "http" => {}
        _ if as_engine => return Err(InvalidAnswer::Redirect("to where no engine follows")),
        _ => return Err(InvalidAnswer::Redirect("from HTTPS to something else")),
    }
    // A user name in it would become a login.
    let stripped = next.set_username("").and_then(|()| next.set_password(None));
    stripped.map_err(|()| InvalidAnswer::Redirect("to where no host is"))?;
    Ok(next)
}

impl Reply {
    async fn of(
        mut response: Response,
        want: Want,
        elsewhere: bool,
    ) -> Result<Self, TransportError> {
        let mut reply = Self {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Vec::new(),
            elsewhere,
            rest: None,
        };
        match want {
            Want::Head => {}
            // A bad request says whether the server wants TLS.
            Want::FirstByte if reply.status != StatusCode::BAD_REQUEST => {}
            Want::Content if reply.status == StatusCode::OK => reply.rest = Some(response),
            _ => reply.body = read(response).await?,
        }
        Ok(reply)
    }
}

/// The body of a success, if it is no larger than a document may be; of a refusal, the beginning.
async fn read(mut response: Response) -> Result<Vec<u8>, TransportError> {
    let success = response.status().is_success();
    let most = if success { MAX_BODY } else { MAX_REFUSAL };
    let too_large = || TransportError::from(InvalidAnswer::TooLarge(MAX_BODY));
    if success && response.content_length() > Some(MAX_BODY as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = most - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            if success {
                return Err(too_large());
            }
            break;
        }
    }
    Ok(body)
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
    rules: Arc<RegistryRules>,
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

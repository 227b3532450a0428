//! Where a registry's name leads: host, port, scheme and the URLs of its API.

use std::fmt;

use oci_spec::image::Digest;
use url::{Host, Url};

/// Docker Hub's name in references, and its other names.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_ALIASES: [&str; 3] = [
    "index.docker.io",
    "registry-1.docker.io",
    "registry.docker.io",
];
/// Where Docker Hub's registry API is served.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// A registry's host and port, in the one form that rules and URLs agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RegistryHost {
    pub(super) host: Host<String>,
    explicit_port: Option<u16>,
}

impl RegistryHost {
    /// Reads `host[:port]`; `None` for anything else. An address in any spelling (`127.1`, `0x7f000001`) is read as
    /// the address that a connection would be made to.
    pub(super) fn parse(registry: &str) -> Option<Self> {
        if let Ok(address) = registry.parse() {
            return Some(Self {
                host: Host::Ipv6(address),
                explicit_port: None,
            });
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if registry.is_empty() || !registry.chars().all(plain) {
            return None;
        }
        // A scheme of no default port, so that an explicit :443 or :80 is kept.
        let host = Url::parse(&format!("https://{registry}/")).ok()?;
        let explicit_port = match registry.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => Some(port.parse().ok().filter(|p| *p > 0)?),
            _ => None,
        };
        Some(Self {
            host: canonical_host(&host.host()?)?,
            explicit_port,
        })
    }

    /// The registry speaks plain HTTP first: `localhost`, 127.0.0.0/8 or `::1`, which engines trust without TLS too.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(v4) => v4.is_loopback(),
            Host::Ipv6(v6) => v6.is_loopback(),
        }
    }

    /// The name to look up: where the registry's API is served.
    pub(super) fn api_host(&self) -> String {
        match &self.host {
            Host::Domain(name) if name == DOCKER_HUB => DOCKER_HUB_API.to_owned(),
            host => host.to_string(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        let default = if self.is_loopback() { 80 } else { 443 };
        self.explicit_port.unwrap_or(default)
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.explicit_port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}", self.host),
        }
    }
}

/// The canonical name of a registry (`host[:port]`): in lower case, and `docker.io` for all names of Docker Hub. `None` if the
/// text is not the name of a registry.
pub fn canonical_name(registry: &str) -> Option<String> {
    RegistryHost::parse(registry).map(|host| host.to_string())
}

/// The form of a URL's host that rules compare: no dot at the end, one name for Docker Hub. `None` for no host name.
pub(super) fn canonical_host(host: &Host<&str>) -> Option<Host<String>> {
    let name = match host {
        Host::Domain(name) => name.strip_suffix('.').unwrap_or(name),
        Host::Ipv4(v4) => return Some(Host::Ipv4(*v4)),
        Host::Ipv6(v6) => return Some(Host::Ipv6(*v6)),
    };
    if name.is_empty() || name.starts_with('.') || name.contains("..") {
        return None;
    }
    let hub = DOCKER_HUB_ALIASES.contains(&name);
    let name = if hub { DOCKER_HUB } else { name };
    Some(Host::Domain(name.to_ascii_lowercase()))
}

/// One repository of one registry.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) host: RegistryHost,
    /// As it is named in the API: Docker Hub's official images are under `library/`.
    pub(super) repository: String,
    pub(super) plain_http: bool,
}

impl Target {
    /// A repository of `host[:port]`. `None` if the names could not be put into a URL as they are.
    pub(super) fn new(registry: &str, repository: &str) -> Option<Self> {
        let host = RegistryHost::parse(registry)?;
        let segment = |s: &str| {
            let first = s.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
            first && s.bytes().all(is_name_byte)
        };
        if repository.len() > 255 || !repository.split('/').all(segment) {
            return None;
        }
        let hub = matches!(&host.host, Host::Domain(name) if name == DOCKER_HUB);
        let repository = if hub && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        let plain_http = host.is_loopback();
        Some(Self {
            host,
            repository,
            plain_http,
        })
    }

    /// The same repository, asked with TLS.
    pub(super) fn over_tls(&self) -> Self {
        Self {
            plain_http: false,
            ..self.clone()
        }
    }

    /// The URL of a layer or config; `None` for what is no digest.
    pub(super) fn blob_url(&self, digest: &str) -> Option<Url> {
        if digest.len() > 256 || Digest::try_from(digest).is_err() {
            return None;
        }
        self.url("blobs", digest)
    }

    /// The URL of a manifest by tag or digest; `None` for a reference that is neither.
    pub(super) fn manifest_url(&self, reference: &str) -> Option<Url> {
        let tag = reference.len() <= 128 && reference.bytes().all(is_name_byte);
        let digest = || reference.len() <= 256 && Digest::try_from(reference).is_ok();
        if reference.is_empty() || reference.starts_with('.') || !(tag || digest()) {
            return None;
        }
        self.url("manifests", reference)
    }

    fn url(&self, kind: &str, reference: &str) -> Option<Url> {
        let scheme = if self.plain_http { "http" } else { "https" };
        let host = self.host.api_host();
        let mut url = Url::parse(&format!("{scheme}://{host}/")).ok()?;
        url.set_port(self.host.explicit_port).ok()?;
        url.set_path(&format!("v2/{}/{kind}/{reference}", self.repository));
        Some(url)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::canonical_name;

    #[test]
    fn a_registry_has_one_name() {
        for (called, name) in [
            ("docker.io", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("Registry.Docker.IO", "docker.io"),
            ("GHCR.io", "ghcr.io"),
            ("ghcr.io.", "ghcr.io"),
            ("registry.example:5000", "registry.example:5000"),
            ("127.0.0.1:5000", "127.0.0.1:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(canonical_name(called).as_deref(), Some(name), "{called}");
        }
        for other in [
            "",
            "https://index.docker.io/v1/",
            "a/b",
            "user@host",
            "host:0",
        ] {
            assert_eq!(canonical_name(other), None, "{other}");
        }
    }

    #[test]
    fn names_that_only_look_alike_are_apart() {
        let name = |registry| canonical_name(registry).unwrap();
        for (one, other) in [
            ("docker.io", "docker.io.evil.example"),
            ("docker.io", "evil-docker.io"),
            ("ghcr.io", "ghcr.io:5000"),
            ("127.0.0.1:5000", "localhost:5000"),
        ] {
            assert_ne!(name(one), name(other));
        }
    }
}

//! `registries.allow` and `registries.deny`: which registries may be asked, by name and by address.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;
use url::Host;
use wharfinger_entity::CleanText;

use super::address::{Reach, canonical, reach};
use super::endpoint::RegistryHost;

/// Which registries may be asked. Patterns are `host[:port]`:
///
/// | pattern | covers |
/// |---|---|
/// | `*` | every host on every port, at public addresses only |
/// | `ghcr.io` | that host; in `allow` on its default ports (443, 80), in `deny` on every port |
/// | `ghcr.io:5000`, `ghcr.io:*` | that host on one port, on every port |
/// | `*.corp.example:5000` | every host under that domain, not the domain itself |
/// | `10.0.0.5:*`, `[::1]:5000` | that address, however it came to be connected to |
///
/// `deny` wins. A pattern that names a host also opens loopback and private addresses for it; link-local and other
/// special addresses (cloud metadata among them) are opened only by a pattern that spells the address out.
/// `docker.io` and Docker Hub's other names for itself are one.
#[derive(Clone, Debug)]
pub struct RegistryRules {
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

/// A pattern that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{pattern}` is no registry pattern: {reason}")]
pub struct RulesError {
    pattern: String,
    reason: &'static str,
}

/// The rules do not permit asking this registry, or connecting to this address for it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotAllowed {
    /// `registries.deny` covers it, or nothing in `registries.allow` does.
    #[error("the registry {registry} is not allowed here")]
    Name {
        /// The registry as it was asked for.
        registry: CleanText<255>,
    },
    /// The name leads to an address inside the network, which no pattern names. The address is left out of
    /// the message: it would tell a user what internal names resolve to.
    #[error("the registry {registry} leads to an address that is not allowed here")]
    Address {
        /// The host that leads there.
        registry: CleanText<255>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    host: HostPattern,
    port: PortPattern,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Any,
    Name(String),
    /// With the leading dot.
    Under(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortPattern {
    Default,
    Any,
    Is(u16),
}

impl RegistryRules {
    /// Reads both lists. An empty `allow` permits nothing.
    pub fn parse(allow: &[String], deny: &[String]) -> Result<Self, RulesError> {
        let read = |patterns: &[String]| -> Result<Vec<Pattern>, _> {
            patterns.iter().map(|pattern| pattern.parse()).collect()
        };
        let mut deny = read(deny)?;
        for pattern in &mut deny {
            if pattern.port == PortPattern::Default {
                pattern.port = PortPattern::Any;
            }
        }
        Ok(Self {
            allow: read(allow)?,
            deny,
        })
    }

    /// Whether a registry (`host[:port]`) may be asked at all, by its name and port, before any look-up. What the
    /// name leads to is judged when a connection is made.
    pub fn permits_name(&self, registry: &str) -> Result<(), NotAllowed> {
        let host = RegistryHost::parse(registry);
        if host.is_some_and(|host| self.permits_host(&host)) {
            return Ok(());
        }
        Err(NotAllowed::Name {
            registry: registry.into(),
        })
    }

    fn permits_host(&self, registry: &RegistryHost) -> bool {
        let (host, port) = (&registry.host, registry.port());
        let covered = || self.allow.iter().any(|p| p.covers(host, port));
        let allowed = match address_of(host) {
            Some(ip) => {
                let connection = self.permits_connection(host, SocketAddr::new(ip, port));
                connection.is_ok() && covered()
            }
            None if registry.is_loopback() => {
                let named = |p: &Pattern| p.names(host, port) || p.opens_loopback(port);
                self.allow.iter().any(named)
            }
            None => covered(),
        };
        allowed && !self.denies(host, port)
    }

    /// The check on a URL that a registry sent us to: not denied, and no literal address of the inner network.
    pub(super) fn permits_hop(&self, host: &Host<String>, port: u16) -> Result<(), NotAllowed> {
        match address_of(host) {
            Some(ip) => self.permits_connection(host, SocketAddr::new(ip, port)),
            None if self.denies(host, port) => Err(NotAllowed::Name {
                registry: host.to_string().into(),
            }),
            None => Ok(()),
        }
    }

    /// Whether a connection to `address` may be made for a registry's host, or for one that it refers to (token service,
    /// redirect): a public address unless denied, any other only where a pattern names it.
    pub(super) fn permits_connection(
        &self,
        host: &Host<String>,
        address: SocketAddr,
    ) -> Result<(), NotAllowed> {
        let (ip, port) = (canonical(address.ip()), address.port());
        let literal = match ip {
            IpAddr::V4(v4) => Host::Ipv4(v4),
            IpAddr::V6(v6) => Host::Ipv6(v6),
        };
        let denied = self.denies(host, port) || self.denies(&literal, port);
        let spelled_out = || self.allow.iter().any(|p| p.names(&literal, port));
        let named = || self.allow.iter().any(|p| p.names(host, port));
        let open = match reach(ip) {
            Reach::Public => true,
            Reach::Private => spelled_out() || named(),
            Reach::Special => spelled_out(),
        };
        if open && !denied {
            Ok(())
        } else {
            Err(NotAllowed::Address {
                registry: host.to_string().into(),
            })
        }
    }

    fn denies(&self, host: &Host<String>, port: u16) -> bool {
        self.deny.iter().any(|p| p.covers(host, port))
    }
}

impl Pattern {
    fn covers(&self, host: &Host<String>, port: u16) -> bool {
        self.host.matches(host) && self.port.matches(port)
    }

    /// Covers it by saying its name, not by a bare `*`.
    fn names(&self, host: &Host<String>, port: u16) -> bool {
        self.host != HostPattern::Any && self.covers(host, port)
    }

    /// `localhost` is the loopback (RFC 6761), so a pattern for 127.0.0.1 or `::1` speaks of it too.
    fn opens_loopback(&self, port: u16) -> bool {
        matches!(self.host, HostPattern::Address(ip) if ip.is_loopback()) && self.port.matches(port)
    }
}

impl HostPattern {
    fn matches(&self, host: &Host<String>) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Name(name), Host::Domain(domain)) => name == domain,
            (Self::Under(suffix), Host::Domain(domain)) => {
                domain.len() > suffix.len() && domain.ends_with(suffix)
            }
            (Self::Address(address), host) => address_of(host) == Some(*address),
            _ => false,
        }
    }
}

impl PortPattern {
    fn matches(self, port: u16) -> bool {
        match self {
            Self::Default => port == 443 || port == 80,
            Self::Any => true,
            Self::Is(wanted) => wanted == port,
        }
    }
}

impl FromStr for Pattern {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| RulesError {
            pattern: text.to_owned(),
            reason,
        };
        let (host, port) = split_port(text.trim());
        let port = match port {
            None if host != "*" => PortPattern::Default,
            None | Some("*") => PortPattern::Any,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => {
                    return Err(error("the port has to be 1 to 65535, or * for every port"));
                }
                Ok(port) => PortPattern::Is(port),
            },
        };
        let host = match host.strip_prefix('*') {
            Some("") => HostPattern::Any,
            Some(rest) => match rest.strip_prefix('.').map(RegistryHost::parse) {
                Some(Some(under)) if !rest.contains([':', '*', '[']) => match under.host {
                    Host::Domain(domain) => HostPattern::Under(format!(".{domain}")),
                    _ => return Err(error("an address has no names under it")),
                },
                _ => return Err(error("* stands alone or before the first dot of a name")),
            },
            None if host.contains('*') => {
                return Err(error("* stands alone or before the first dot of a name"));
            }
            None => match RegistryHost::parse(host).map(|h| h.host) {
                Some(Host::Domain(domain)) => HostPattern::Name(domain),
                Some(Host::Ipv4(v4)) => HostPattern::Address(v4.into()),
                Some(Host::Ipv6(v6)) => HostPattern::Address(canonical(v6.into())),
                None => return Err(error("expected host, host:port or host:*")),
            },
        };
        Ok(Self { host, port })
    }
}

/// Splits `host:port`; an IPv6 address without brackets has no port.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if host.ends_with(']') || !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

fn address_of(host: &Host<String>) -> Option<IpAddr> {
    match host {
        Host::Domain(_) => None,
        Host::Ipv4(v4) => Some(IpAddr::V4(*v4)),
        Host::Ipv6(v6) => Some(canonical(IpAddr::V6(*v6))),
    }
}

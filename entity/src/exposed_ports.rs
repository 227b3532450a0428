//! [`ExposedPorts`]: the ports that an image declares.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use sea_orm::FromJsonQueryResult;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Ports of one image, at most. The longest has 16 characters, so that all of them stay far below 64 KiB.
pub const PORTS_AT_MOST: usize = 1000;

/// A transport protocol that an engine publishes ports of (docker/go-connections, `nat.validateProto`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortProtocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
    /// `sctp`
    Sctp,
}

impl PortProtocol {
    const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port or a range of ports: `6379/tcp`, `8000-8010/udp`. Ordered by the lowest port, then `tcp` before `udp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExposedPort {
    first: u16,
    protocol: PortProtocol,
    last: u16,
}

/// A text that is no `port/protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a port such as 6379/tcp: a number from 1 to 65535 or a range, and tcp, udp or sctp")]
pub struct NotAPort;

impl FromStr for ExposedPort {
    type Err = NotAPort;

    /// Reads `port[-port][/protocol]` as Docker does: without a protocol it is `tcp` (OCI image-spec, config.md;
    /// docker/go-connections, `nat.Port`), whose case does not matter.
    fn from_str(text: &str) -> Result<Self, NotAPort> {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let (first, last) = (number(first)?, number(last)?);
        let mut known = PortProtocol::ALL.into_iter();
        let protocol = known
            .find(|known| known.as_str().eq_ignore_ascii_case(protocol))
            .ok_or(NotAPort)?;
        if first > last {
            return Err(NotAPort);
        }
        Ok(Self {
            first,
            protocol,
            last,
        })
    }
}

fn number(text: &str) -> Result<u16, NotAPort> {
    // `parse` would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number > 0);
    number.ok_or(NotAPort)
}

impl fmt::Display for ExposedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.as_str();
        if self.first == self.last {
            write!(f, "{}/{protocol}", self.first)
        } else {
            write!(f, "{}-{}/{protocol}", self.first, self.last)
        }
    }
}

/// The ports of an image, each once, lowest first, at most [`PORTS_AT_MOST`]. Stored as a JSON array of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, FromJsonQueryResult)]
pub struct ExposedPorts(Vec<ExposedPort>);

impl ExposedPorts {
    /// Keeps what is a port. Of more than [`PORTS_AT_MOST`], the lowest are kept.
    pub fn declared<T: AsRef<str>>(ports: impl IntoIterator<Item = T>) -> Self {
        let mut kept = BTreeSet::new();
        for port in ports {
            if let Ok(port) = port.as_ref().parse::<ExposedPort>() {
                kept.insert(port);
            }
            if kept.len() > PORTS_AT_MOST {
                kept.pop_last();
            }
        }
        Self(kept.into_iter().collect())
    }

    /// The ports, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = ExposedPort> + '_ {
        self.0.iter().copied()
    }

    /// The ports as the API spells them, lowest first.
    pub fn to_strings(&self) -> Vec<String> {
        self.iter().map(|port| port.to_string()).collect()
    }
}

impl Serialize for ExposedPorts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.to_strings())
    }
}

impl<'de> Deserialize<'de> for ExposedPorts {
    /// Bounds the list also when it is read, because another version may have stored a longer one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<String>::deserialize(deserializer).map(Self::declared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_first_and_tcp_before_udp() {
        let declared = "9000/tcp 53/udp 53/tcp 53/sctp 800-810/udp 443 443/tcp 0080/TCP";
        let sorted = "53/tcp 53/udp 53/sctp 80/tcp 443/tcp 800-810/udp 9000/tcp";
        let ports = ExposedPorts::declared(declared.split(' '));
        assert_eq!(ports.to_strings().join(" "), sorted);
    }

    #[test]
    fn what_is_no_port_is_dropped() {
        for other in [
            "",
            "/",
            "/tcp",
            "0/tcp",
            "65536/tcp",
            "+80/tcp",
            "-80",
            "80-",
            "9-8/tcp",
            "80/",
            "80/icmp",
            "80/tcp/udp",
            "80/tcp\0",
            "80\u{202e}/tcp",
            " 80/tcp",
            "http/tcp",
            "٣/tcp",
            "1-2-3/tcp",
        ] {
            assert_eq!(other.parse::<ExposedPort>(), Err(NotAPort), "{other:?}");
        }
        assert_eq!(
            ExposedPorts::declared(["80\0", "1/tcp"]).to_strings(),
            ["1/tcp"]
        );
    }

    #[test]
    fn the_lowest_of_too_many_are_kept() {
        let ports = (1..=20_000).rev().map(|port| format!("{port}/udp"));
        let ports = ExposedPorts::declared(ports).to_strings();
        assert_eq!(ports.len(), PORTS_AT_MOST);
        assert_eq!((&*ports[0], &*ports[999]), ("1/udp", "1000/udp"));
        let longest = "65534-65535/sctp".len() + r#""","#.len();
        assert!(longest * PORTS_AT_MOST < 64 * 1024);
    }

    #[test]
    fn json_is_read_with_the_same_bounds() {
        let ports: ExposedPorts = serde_json::from_str(r#"["80/udp","x","80"]"#).unwrap();
        assert_eq!(
            serde_json::to_string(&ports).unwrap(),
            r#"["80/tcp","80/udp"]"#
        );
    }
}

//! [`Digest`]: the hash that content in a registry is addressed by.

use std::{fmt, ops::Deref};

use crate::excerpt::excerpt;

/// A hash algorithm that the OCI image specification registers, and Docker knows
/// (image-spec, descriptor.md, "Registered algorithms"; opencontainers/go-digest, `algorithm.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestAlgorithm {
    /// SHA-256: what registries and engines use.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name as it stands before the colon: `sha256`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a hash of this algorithm has.
    pub fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A content digest such as `sha256:dbcc1c35…`: a registered algorithm, a colon, and the whole hash in lower-case
/// hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    text: String,
    algorithm: DigestAlgorithm,
}

impl Digest {
    /// Parses `text` by the rules of opencontainers/go-digest, which Docker uses: upper-case digits are refused.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::NoAlgorithm(excerpt(text)))?;
        let algorithm = DigestAlgorithm::from_name(name)
            .ok_or_else(|| DigestError::Algorithm(excerpt(name)))?;
        if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(DigestError::NotHex(excerpt(hex)));
        }
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::Length {
                algorithm,
                found: hex.len(),
            });
        }
        if hex.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(DigestError::UpperCase(excerpt(hex)));
        }
        Ok(Self {
            text: text.to_owned(),
            algorithm,
        })
    }

    /// The whole digest: `sha256:dbcc1c35…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The algorithm before the colon.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The hash after the colon, in lower-case hexadecimal digits.
    pub fn hex(&self) -> &str {
        // The name and the colon, both ASCII, come before it.
        &self.text[self.algorithm.as_str().len() + 1..]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Deref for Digest {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.text
    }
}

impl PartialEq<str> for Digest {
    fn eq(&self, other: &str) -> bool {
        self.text == other
    }
}

impl PartialEq<&str> for Digest {
    fn eq(&self, other: &&str) -> bool {
        self.text == *other
    }
}

impl PartialEq<String> for Digest {
    fn eq(&self, other: &String) -> bool {
        self.text == *other
    }
}

/// Why a text is not a [`Digest`], and what would be, with the part at fault, shortened and escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon, so no algorithm.
    #[error("digest \"{0}\" names no algorithm: write \"sha256:\" and then 64 hexadecimal digits")]
    NoAlgorithm(String),
    /// The algorithm is none of the registered ones, or is not in lower case.
    #[error("digest algorithm \"{0}\" is not known: use sha256, sha384 or sha512, in lower case")]
    Algorithm(String),
    /// Something other than hexadecimal digits follows the colon.
    #[error("\"{0}\" in a digest is not hexadecimal: use the digits 0-9 and a-f only")]
    NotHex(String),
    /// The hash is cut off or too long.
    #[error(
        "a {algorithm} digest has {} hexadecimal digits, and this one has {found}: give all of it",
        .algorithm.hex_length()
    )]
    Length {
        /// The algorithm named.
        algorithm: DigestAlgorithm,
        /// How many there were.
        found: usize,
    },
    /// The hash is right but for upper-case digits, which registries take for another digest.
    #[error("digest digits \"{0}\" are in upper case: write them in lower case")]
    UpperCase(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(algorithm: &str, digit: &str, length: usize) -> String {
        format!("{algorithm}:{}", digit.repeat(length))
    }

    #[test]
    fn registered_algorithms_round_trip() {
        for algorithm in DigestAlgorithm::ALL {
            let text = of(algorithm.as_str(), "f", algorithm.hex_length());
            let digest = Digest::parse(&text).unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(digest.as_str(), text);
            assert_eq!(digest.algorithm(), algorithm);
            assert_eq!(digest.hex(), "f".repeat(algorithm.hex_length()));
        }
    }

    #[test]
    fn wrong_digests_say_what_would_be_right() {
        let hex = "f".repeat(64);
        for (text, message) in [
            (
                hex.clone(),
                format!(
                    "digest \"{}…\" names no algorithm: write \"sha256:\" and then 64 hexadecimal digits",
                    "f".repeat(48)
                ),
            ),
            (
                of("md5", "f", 32),
                "digest algorithm \"md5\" is not known: use sha256, sha384 or sha512, in lower case".into(),
            ),
            (
                of("SHA256", "f", 64),
                "digest algorithm \"SHA256\" is not known: use sha256, sha384 or sha512, in lower case".into(),
            ),
            (
                "sha256:xyz".into(),
                "\"xyz\" in a digest is not hexadecimal: use the digits 0-9 and a-f only".into(),
            ),
            (
                of("sha256", "f", 63),
                "a sha256 digest has 64 hexadecimal digits, and this one has 63: give all of it".into(),
            ),
            (
                of("sha512", "f", 64),
                "a sha512 digest has 128 hexadecimal digits, and this one has 64: give all of it".into(),
            ),
            (
                of("sha256", "F", 64),
                format!(
                    "digest digits \"{}…\" are in upper case: write them in lower case",
                    "F".repeat(48)
                ),
            ),
        ] {
            assert_eq!(Digest::parse(&text).unwrap_err().to_string(), message);
        }
        assert!(Digest::parse("").is_err());
        assert!(Digest::parse("sha256:").is_err());
        assert!(Digest::parse(&format!(" sha256:{hex}")).is_err());
        assert!(Digest::parse(&format!("sha256:{hex}\n")).is_err());
    }
}

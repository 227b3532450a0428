//! [`ImageReference`]: what people call an image, as Docker understands it.
//!
//! The grammar and the normal form are those of github.com/distribution/reference, which Docker uses
//! (`ParseNormalizedNamed` and `TagNameOnly`); its test vectors and its regular expression are in this crate's tests.
//! The parser is our own because oci-spec's `distribution::Reference` (which oci-client re-exports) differs from it: it
//! knows no IPv6 addresses, takes an image id for a name and `Docker/x` for a repository of Docker Hub, lets non-ASCII
//! letters into tags and upper-case digits into digests, and answers most mistakes with "invalid reference format".

mod error;
mod parse;

use std::fmt;

pub use self::error::ReferenceError;
use crate::digest::Digest;

/// The registry of a reference that names none.
const DOCKER_HUB: &str = "docker.io";
/// Where Docker Hub keeps the images whose names have one part.
const OFFICIAL: &str = "library/";

/// A fully qualified reference to an image: registry, repository, and a tag or a digest, or both.
///
/// Compared and printed in its normal form, so `redis`, `docker.io/redis` and
/// `index.docker.io/library/redis:latest` are the same reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// Parses a reference in every form that `docker pull` takes: `redis`, `redis:7`, `ghcr.io/a/b@sha256:…`, `localhost:5000/x`.
    /// With neither tag nor digest it means the tag `latest`.
    ///
    /// Two things that the grammar allows, and that no engine can pull, are refused: a host with an underscore, and
    /// `sha256` as the name of an official image, whose short form is an image id.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        parse::parse(text)
    }

    /// The registry's host, with its port if one was given: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`.
    /// As Docker does, this keeps the case in which it was written and does not check the port's range:
    /// compare it with settings regardless of case.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry: `library/redis`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one; there is none only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given. With a tag as well, the digest decides which image is meant.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Registry and repository, without tag and digest: `docker.io/library/redis`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The reference as people write it and the Docker CLI prints it: `redis:7`. Parses to the same reference.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The name as people write it, without tag and digest: `redis`, `ghcr.io/a/b`.
    ///
    /// `docker.io/example.com/x` stays as it is: Docker shortens it to `example.com/x`, which is another registry's.
    pub fn familiar_name(&self) -> String {
        if self.registry != DOCKER_HUB {
            return self.name();
        }
        match self.repository.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => {
                let first = self.repository.split('/').next().unwrap_or_default();
                if parse::reads_as_registry(first) {
                    self.name()
                } else {
                    self.repository.clone()
                }
            }
        }
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

/// Fully qualified: `docker.io/library/redis:7`.
impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

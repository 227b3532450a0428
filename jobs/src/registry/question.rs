//! One request to a registry, and the meaning of its answer's status.

use std::time::{Duration, SystemTime};

use super::auth::Login;
use super::error::{InvalidAnswer, RegistryError, UnavailableCause};
use super::retry_after::retry_after;
use super::transport::{Reply, TransportError};

/// One call of the client, for error messages.
pub(super) struct Question<'a> {
    pub(super) registry: &'a str,
    pub(super) repository: &'a str,
    pub(super) reference: &'a str,
    pub(super) login: Option<&'a Login>,
}

impl Question<'_> {
    pub(super) fn image(&self) -> String {
        let (registry, repository) = (self.registry, self.repository);
        let mark = if self.reference.contains(':') {
            '@'
        } else {
            ':'
        };
        format!("{registry}/{repository}{mark}{}", self.reference)
    }

    pub(super) fn invalid(&self, reason: InvalidAnswer) -> RegistryError {
        RegistryError::Invalid {
            image: self.image(),
            reason,
        }
    }

    pub(super) fn unavailable(
        &self,
        cause: UnavailableCause,
        retry_after: Option<Duration>,
    ) -> RegistryError {
        RegistryError::Unavailable {
            registry: self.registry.to_owned(),
            retry_after,
            cause,
        }
    }

    /// An answer with a manifest in it, or what its status means.
    pub(super) fn accept(
        &self,
        reply: Result<Reply, TransportError>,
    ) -> Result<Reply, RegistryError> {
        let reply = reply.map_err(|error| match error {
            TransportError::NotAllowed(refused) => RegistryError::NotAllowed(refused),
            TransportError::Http(error) => self.unavailable(UnavailableCause::Http(error), None),
            TransportError::Invalid(reason) => self.invalid(reason),
        })?;
        let wait = retry_after(&reply.headers, SystemTime::now());
        Err(match reply.status.as_u16() {
            200 => return Ok(reply),
            401 | 403 => RegistryError::Denied {
                image: self.image(),
                with_login: self.login.is_some(),
            },
            404 => RegistryError::NotFound {
                image: self.image(),
            },
            429 => RegistryError::RateLimited {
                registry: self.registry.to_owned(),
                retry_after: wait,
            },
            408 | 500..=599 => self.unavailable(UnavailableCause::Status(reply.status), wait),
            _ => self.invalid(InvalidAnswer::Status(reply.status)),
        })
    }
}

//! One request to a registry, and the meaning of its answer's status.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::auth::Login;
use super::error::{InvalidAnswer, RegistryError, UnavailableCause};
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

    pub(super) fn failure(&self, error: TransportError) -> RegistryError {
        match error {
            TransportError::NotAllowed(refused) => refused.into(),
            TransportError::LookUp(error) => {
                self.unavailable(UnavailableCause::LookUp(error), None)
            }
            TransportError::Http(error) => self.unavailable(UnavailableCause::Http(error), None),
            TransportError::Invalid(reason) => self.invalid(reason),
        }
    }

    /// What comes of asking, if it comes in time.
    pub(super) async fn within<T>(
        &self,
        total: Duration,
        asking: impl Future<Output = T>,
    ) -> Result<T, RegistryError> {
        let answer = tokio::time::timeout(total, asking).await;
        answer.map_err(|_| self.unavailable(UnavailableCause::TimedOut(total), None))
    }

    /// An answer with what was asked for in it, or what its status means.
    pub(super) fn accept(
        &self,
        reply: Result<Reply, TransportError>,
    ) -> Result<Reply, RegistryError> {
        let reply = reply.map_err(|error| self.failure(error))?;
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

/// No registry is waited for longer than this: a wrong clock or a joke must not park a job for years.
const LONGEST: Duration = Duration::from_hours(24);

/// `Retry-After` (RFC 9110, section 10.2.3): seconds or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    parse(headers.get(RETRY_AFTER)?.to_str().ok()?, now)
}

fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a u64 holds still mean "very long".
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_seconds_and_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let parse = |value| parse(value, now).map(|d| d.as_secs());
        assert_eq!(parse("120"), Some(120));
        assert_eq!(parse(" 0 "), Some(0));
        assert_eq!(parse("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(parse("99999999999999999999999"), Some(86_400));
        for nonsense in ["", "-1", "1.5", "soon", "+5"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_never_waits_too_long(value in ".*") {
            prop_assert!(parse(&value, SystemTime::now()).is_none_or(|wait| wait <= LONGEST));
        }

        #[test]
        fn every_number_of_seconds_is_read(seconds in any::<u64>()) {
            let expected = Duration::from_secs(seconds).min(LONGEST);
            prop_assert_eq!(parse(&seconds.to_string(), SystemTime::now()), Some(expected));
        }
    }
}

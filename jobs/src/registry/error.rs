//! Errors of registries, in words for the user who asked for the image.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::StatusCode;
use thiserror::Error;
use wharfinger_entity::CleanText;

use super::platform::Platform;
use super::rules::NotAllowed;

/// Why a manifest could not be read. No message contains a credential, a token or a URL with a query.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry knows no such repository, tag or digest.
    #[error("{image} was not found: the registry has no such repository, tag or digest")]
    NotFound {
        /// The image as it was asked for.
        image: String,
    },
    /// There is such an image, but not for the engine's platform.
    #[error("{image} has no image for {wanted}, only for {available}")]
    NoPlatform {
        /// The image as it was asked for.
        image: String,
        /// The engine's platform.
        wanted: Platform,
        /// The platforms that the index lists, separated by commas.
        available: CleanText,
    },
    /// The registry refuses. Docker Hub among others answers the same for a repository that does not exist.
    #[error("{image} does not exist or {}", if *.with_login { "the saved login may not read it" } else { "needs a login" })]
    Denied {
        /// The image as it was asked for.
        image: String,
        /// Whether a login was used.
        with_login: bool,
    },
    /// The registry limits how often it is asked.
    #[error("{registry} limits how often it may be asked, and the limit is reached")]
    RateLimited {
        /// The registry.
        registry: String,
        /// How long it asks to wait, if it says so.
        retry_after: Option<Duration>,
    },
    /// The registry did not answer, or not in a way that says anything about the image.
    #[error("{registry} is not available: {cause}")]
    Unavailable {
        /// The registry.
        registry: String,
        /// How long it asks to wait, if it says so.
        retry_after: Option<Duration>,
        /// The failure.
        #[source]
        cause: UnavailableCause,
    },
    /// The rules do not permit asking this registry, or an address that it leads to.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The registry's answer cannot be used.
    #[error("{image} cannot be pulled: {reason}")]
    Invalid {
        /// The image as it was asked for.
        image: String,
        /// The fault of the answer.
        #[source]
        reason: InvalidAnswer,
    },
}

impl RegistryError {
    /// Whether a later request may succeed. A rate limit and an outage pass; other errors need a change first.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unavailable { .. })
    }

    /// Whether there is such an image, and no engine like this one can have it.
    pub fn is_unsupported(&self) -> bool {
        use InvalidAnswer as Answer;
        match self {
            Self::NoPlatform { .. } => true,
            Self::Invalid { reason, .. } => matches!(
                reason,
                Answer::Schema1
                    | Answer::Manifest(_)
                    | Answer::Json(_)
                    | Answer::TooManyLayers { .. }
            ),
            _ => false,
        }
    }

    /// How long the registry asks to wait, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                *retry_after
            }
            _ => None,
        }
    }
}

/// How a registry is unavailable.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UnavailableCause {
    /// An HTTP status of the server's own trouble.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// No whole answer in time.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// Its name leads nowhere.
    #[error("its name could not be looked up: {0}")]
    LookUp(CleanText),
    /// DNS, TCP, TLS or HTTP failed.
    #[error("{}", root_cause(.0))]
    Http(#[source] reqwest::Error),
}

/// Why an answer cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidAnswer {
    /// The name or reference could not be put into a request.
    #[error("the name is not valid")]
    Name,
    /// A status that the registry API does not have here.
    #[error("the registry answered {0}")]
    Status(StatusCode),
    /// Bigger than any manifest may be.
    #[error("the registry's answer is bigger than {0} bytes")]
    TooLarge(usize),
    /// Redirected too often, or to where no answer is accepted from.
    #[error("the registry redirects {0}")]
    Redirect(&'static str),
    /// The challenge or the token service's answer cannot be used.
    #[error("the registry asks for a login in a way that is not understood: {0}")]
    Challenge(&'static str),
    /// The body is not what its digest says.
    #[error("the registry sent other content than {expected}")]
    Digest {
        /// The digest that was asked for or announced.
        expected: CleanText<140>,
    },
    /// Manifest schema 1, which engines have stopped to pull.
    #[error(
        "its manifest has the obsolete schema version 1; the image has to be pushed again with a current client"
    )]
    Schema1,
    /// JSON, but no manifest that an engine can pull.
    #[error("{0}")]
    Manifest(&'static str),
    /// Not JSON, or JSON of another shape.
    #[error("the manifest cannot be read: {0}")]
    Json(CleanText),
    /// More layers than an engine takes.
    #[error("it has {found} layers, and an engine takes at most {most}")]
    TooManyLayers {
        /// How many it has.
        found: usize,
        /// How many an engine takes.
        most: usize,
    },
}

impl From<serde_json::Error> for InvalidAnswer {
    /// The error repeats what it found.
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error.to_string().into())
    }
}

/// reqwest says "error sending request"; what a person can act on is at the bottom.
fn root_cause(error: &reqwest::Error) -> CleanText {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn StdError = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string().into()
}

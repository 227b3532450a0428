//! The meaning of an engine's errors.

use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use wharfinger_entity::CleanText;

/// Why the engine did not do what was asked, in its own words.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// No such image, here or at the registry, or none for this platform.
    #[error("{0}")]
    NotFound(CleanText),
    /// The registry refuses access, or would want a login.
    #[error("{0}")]
    Denied(CleanText),
    /// The engine could not reach the registry, or lost it in the middle.
    #[error("{0}")]
    RegistryUnavailable(CleanText),
    /// The registry asks to slow down.
    #[error("{0}")]
    RateLimited(CleanText),
    /// The engine's disk is full.
    #[error("{0}")]
    DiskFull(CleanText),
    /// The engine is not there, does not answer in time, or went away in the middle.
    #[error("{message}")]
    Unavailable {
        /// In words.
        message: CleanText,
        /// The cause.
        #[source]
        source: Option<Arc<Error>>,
    },
    /// A container uses the image.
    #[error("{0}")]
    InUse(CleanText),
    /// The image has several names, or others are built on it.
    #[error("{0}")]
    Conflict(CleanText),
    /// The registry has it, and this engine cannot: too many layers, or a configuration that cannot be read.
    #[error("{0}")]
    Unsupported(CleanText),
    /// Any other error: a fault of the engine or of the request, or an unknown message.
    #[error("{message}")]
    Other {
        /// In words.
        message: CleanText,
        /// The cause.
        #[source]
        source: Option<Arc<Error>>,
    },
}

impl EngineError {
    /// Whether the request certainly did not reach the engine: there was no connection to it.
    pub(crate) fn was_not_asked(&self) -> bool {
        let Self::Unavailable {
            source: Some(source),
            ..
        } = self
        else {
            return false;
        };
        match source.as_ref() {
            Error::SocketNotFoundError(_) => true,
            Error::HyperLegacyError { err } => err.is_connect(),
            _ => false,
        }
    }

    /// The engine let a deadline pass.
    pub(super) fn silent(deadline: Duration) -> Self {
        let deadline = humantime::format_duration(deadline);
        unavailable(format!(
            "the Docker engine did not answer within {deadline}"
        ))
    }

    /// A fault of the engine or of the request, in our words.
    pub(super) fn other(message: impl Into<CleanText>) -> Self {
        Self::Other {
            message: message.into(),
            source: None,
        }
    }
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => classify(Some(status_code), &message),
            Error::DockerStreamError { error } => classify(None, &error),
            Error::JsonSerdeError { err } if !err.is_eof() => unreadable(&err.into()),
            Error::JsonDataError { .. } | Error::APIVersionParseError {} => unreadable(&error),
            error @ (Error::RequestTimeoutError
            | Error::SocketNotFoundError(_)
            | Error::JsonSerdeError { .. }
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
            | Error::HyperLegacyError { .. }) => Self::Unavailable {
                message: format!("the Docker engine is not available: {}", root_cause(&error))
                    .into(),
                source: Some(Arc::new(error)),
            },
            error => Self::Other {
                message: format!(
                    "the Docker engine could not be asked: {}",
                    root_cause(&error)
                )
                .into(),
                source: Some(Arc::new(error)),
            },
        }
    }
}

/// The error repeats the answer, so that it is no source to keep.
fn unreadable(error: &Error) -> EngineError {
    EngineError::other(format!(
        "the Docker engine's answer could not be read: {error}"
    ))
}

/// HTTP clients wrap what the operating system said in layers that say nothing.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

// The words below are those of moby (`daemon/internal/distribution/errors.go`, `daemon/images/image_delete.go`), of
// containerd's and distribution's registry clients, of Go's `net` and `net/http`, and of the operating system. In lower
// case, and each with something that no name of an image can have, so that no name can pass for a reason.

const DISK_FULL: &[&str] = &["no space left on device", "disk quota exceeded"];

/// The engine's own containerd, not a registry, is what did not answer.
const ENGINE_BROKEN: &[&str] = &["error while dialing", "containerd.sock: connect"];

const RATE_LIMITED: &[&str] = &["toomanyrequests: ", "too many requests", "pull rate limit"];

const DENIED: &[&str] = &[
    "pull access denied",
    "access to the resource is denied",
    "authentication required",
    "no basic auth credentials",
    "incorrect username or password",
    "insufficient_scope: ",
    "401 unauthorized",
    "403 forbidden",
    "access forbidden",
    "unauthorized: ",
    "denied: ",
    ": unauthorized",
    ": forbidden",
];

const NOT_FOUND: &[&str] = &[
    "manifest unknown",
    "unknown blob",
    "name unknown",
    "blob unknown to registry",
    "repository name not known to registry",
    "does not exist or no pull access",
    "no such image",
    "no matching manifest",
    "no match for platform in manifest",
    "does not match the specified platform",
    "cannot be used on this platform",
    "404 not found",
    ": not found",
];

const REGISTRY_UNAVAILABLE: &[&str] = &[
    "dial tcp",
    "connection refused",
    "connection reset",
    "connection timed out",
    "no such host",
    "server misbehaving",
    "temporary failure in name resolution",
    "network is unreachable",
    "no route to host",
    "broken pipe",
    "i/o timeout",
    "tls handshake timeout",
    "context deadline exceeded",
    "client.timeout exceeded",
    "request canceled while waiting",
    "use of closed network connection",
    "failed to do request",
    "proxyconnect tcp",
    "unexpected eof",
    ": eof",
    "http2: ",
    "stream error: ",
    "malformed http",
    "tls: ",
    "x509: ",
    "server gave http response to https client",
    "received unexpected http status",
    "unexpected status from ",
    "unexpected status code ",
    "service unavailable",
    "bad gateway",
    "gateway timeout",
    "internal server error",
    "filesystem layer verification failed",
    "unexpected commit digest",
];

/// The engine cancels a pull when it stops. A client cancels one only by dropping its request.
const STOPPING: &[&str] = &[
    "context canceled",
    "layer registration cancelled",
    "download cancelled",
];

/// No engine can use the manifest or the configuration (`daemon/internal/distribution/pull_v2.go`,
/// `layer/layer.go`; containerd's `image.go`).
const UNSUPPORTED: &[&str] = &[
    "max depth exceeded",
    "layers from manifest don't match image configuration",
    "invalid rootfs in image configuration",
    "mismatched image rootfs and manifest layers",
    "unsupported manifest media type",
    "unsupported manifest format",
    "unsupported media type",
    "unknown image config media type",
];

/// The beginnings of Go's errors about an unreadable configuration. About another answer they come later in the message.
const UNREADABLE_CONFIG: &[&str] = &[
    "invalid character ",
    "unexpected end of json input",
    "json: cannot unmarshal ",
    "parsing time ",
];

/// Bytes of a message that are looked at to tell what it means.
const LOOKED_AT: usize = 64 * 1024;

/// The meaning of an engine's message. `status` is that of its answer, or none for an error in the middle of a pull.
/// Docker tells most reasons apart by their text alone.
pub(super) fn classify(status: Option<u16>, said: &str) -> EngineError {
    let text = said[..said.floor_char_boundary(LOOKED_AT)].to_lowercase();
    let message = CleanText::new(said);
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(DISK_FULL) {
        EngineError::DiskFull(message)
    } else if status == Some(409) {
        // "container … is using its referenced image …", "image is being used by running container …"
        if says(&[" is using its ", " is being used by "]) {
            EngineError::InUse(message)
        } else {
            EngineError::Conflict(message)
        }
    } else if let Some(answered) = unreadable_answer(&text) {
        match answered {
            401 | 403 => EngineError::Denied(message),
            404 => EngineError::NotFound(message),
            429 => EngineError::RateLimited(message),
            _ => EngineError::RegistryUnavailable(message),
        }
    } else if says(UNSUPPORTED)
        || UNREADABLE_CONFIG
            .iter()
            .any(|words| text.starts_with(words))
    {
        EngineError::Unsupported(message)
    } else if says(ENGINE_BROKEN) {
        unavailable(message)
    } else if says(RATE_LIMITED) {
        EngineError::RateLimited(message)
    } else if says(DENIED) || matches!(&*text, "unauthorized" | "denied" | "forbidden") {
        EngineError::Denied(message)
    } else if says(NOT_FOUND) {
        EngineError::NotFound(message)
    } else if says(REGISTRY_UNAVAILABLE) || text == "eof" {
        EngineError::RegistryUnavailable(message)
    } else if says(STOPPING) {
        unavailable(message)
    } else {
        match status {
            Some(401 | 403) => EngineError::Denied(message),
            Some(404) => EngineError::NotFound(message),
            Some(502..=504) => unavailable(message),
            _ => EngineError::other(message),
        }
    }
}

/// The engine is not there, or not any more.
pub(super) fn unavailable(message: impl Into<CleanText>) -> EngineError {
    EngineError::Unavailable {
        message: message.into(),
        source: None,
    }
}

/// The status of a registry's answer that the engine could not read, which it quotes whole: often a page of HTML that
/// might say anything.
fn unreadable_answer(text: &str) -> Option<u16> {
    let (_, answer) = text.split_once("error parsing http ")?;
    answer.get(..3)?.parse().ok()
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;

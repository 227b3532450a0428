//! What an engine's errors mean. Docker tells most of them apart only by their text.

use std::sync::Arc;

use bollard::errors::Error as BollardError;

/// Why the engine did not do what was asked; with its own words.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// No such image, here or at the registry.
    #[error("{0}")]
    NotFound(String),
    /// The registry refuses access.
    #[error("{0}")]
    Denied(String),
    /// The engine could not reach the registry, or lost it in the middle.
    #[error("{0}")]
    RegistryUnavailable(String),
    /// The registry asks to slow down.
    #[error("{0}")]
    RateLimited(String),
    /// The engine's disk is full.
    #[error("{0}")]
    DiskFull(String),
    /// The engine does not answer.
    #[error("{message}")]
    Unavailable {
        /// In words.
        message: String,
        /// What happened underneath.
        #[source]
        source: Option<Arc<BollardError>>,
    },
    /// A container uses the image.
    #[error("{0}")]
    InUse(String),
    /// The image has several names, or others are built on it.
    #[error("{0}")]
    Conflict(String),
    /// Anything else.
    #[error("{message}")]
    Other {
        /// The engine's words.
        message: String,
    },
}

impl From<BollardError> for EngineError {
    fn from(error: BollardError) -> Self {
        match error {
            BollardError::DockerResponseServerError {
                status_code,
                message,
            } => classify(Some(status_code), message),
            BollardError::DockerStreamError { error } => classify(None, error),
            error @ (BollardError::JsonDataError { .. } | BollardError::JsonSerdeError { .. }) => {
                Self::Other {
                    message: format!("the engine's answer could not be read: {error}"),
                }
            }
            error => Self::Unavailable {
                message: format!("the Docker engine does not answer: {}", root_cause(&error)),
                source: Some(Arc::new(error)),
            },
        }
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// What a message of the engine means: with the status of its answer, or none for one in the middle of a pull.
/// The texts are those of moby, of the registries that it quotes, and of the operating system underneath.
pub(crate) fn classify(status: Option<u16>, message: String) -> EngineError {
    let text = message.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if says(&["no space left on device", "disk quota exceeded"]) {
        return EngineError::DiskFull(message);
    }
    if says(&["toomanyrequests", "too many requests", "rate limit"]) {
        return EngineError::RateLimited(message);
    }
    if status == Some(409) {
        if says(&[
            "is using",
            "is being used",
            "in use by",
            "running container",
            "stopped container",
        ]) {
            return EngineError::InUse(message);
        }
        return EngineError::Conflict(message);
    }
    // Docker Hub's answer for a repository that does not exist, too: a login might show it.
    if says(&[
        "pull access denied",
        "unauthorized",
        "denied: ",
        "access forbidden",
        "authentication required",
        "no basic auth credentials",
    ]) {
        return EngineError::Denied(message);
    }
    if says(&[
        "manifest unknown",
        "manifest for",
        "name unknown",
        "repository name not known",
        "no such image",
        "no matching manifest",
        "does not match the specified platform",
    ]) || (text.starts_with("manifest") && text.contains("not found"))
    {
        return EngineError::NotFound(message);
    }
    if says(&[
        "connection refused",
        "no such host",
        "connection reset",
        "i/o timeout",
        "timeout exceeded",
        "tls: ",
        "x509: ",
        "unexpected eof",
        "server misbehaving",
        "network is unreachable",
        "no route to host",
        "broken pipe",
        "received unexpected http status",
        "service unavailable",
        "bad gateway",
        "context deadline exceeded",
        "temporary failure in name resolution",
        "request canceled while waiting",
        "server gave http response to https client",
        "filesystem layer verification failed",
    ]) || text.ends_with(": eof")
    {
        return EngineError::RegistryUnavailable(message);
    }
    match status {
        Some(404) => EngineError::NotFound(message),
        Some(401 | 403) => EngineError::Denied(message),
        Some(503) => EngineError::Unavailable {
            message,
            source: None,
        },
        _ => EngineError::Other { message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(status: Option<u16>, message: &str) -> &'static str {
        match classify(status, message.to_owned()) {
            EngineError::NotFound(_) => "not found",
            EngineError::Denied(_) => "denied",
            EngineError::RegistryUnavailable(_) => "registry",
            EngineError::RateLimited(_) => "rate",
            EngineError::DiskFull(_) => "disk",
            EngineError::Unavailable { .. } => "engine",
            EngineError::InUse(_) => "in use",
            EngineError::Conflict(_) => "conflict",
            EngineError::Other { .. } => "other",
        }
    }

    #[test]
    fn what_engines_say_is_understood() {
        let said = [
            (
                Some(404),
                "manifest for 127.0.0.1:5000/x:nope not found: manifest unknown: manifest unknown",
                "not found",
            ),
            (Some(404), "No such image: sha256:abc", "not found"),
            (
                None,
                "no matching manifest for linux/amd64 in the manifest list entries",
                "not found",
            ),
            (
                Some(404),
                "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                "denied",
            ),
            (
                Some(500),
                "Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                "registry",
            ),
            (
                Some(500),
                "Get \"https://nope.invalid/v2/\": dial tcp: lookup nope.invalid: no such host",
                "registry",
            ),
            (
                Some(500),
                "Get \"https://10.0.0.1/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
                "registry",
            ),
            (
                Some(500),
                "Head \"https://ghcr.io/v2/a/manifests/1\": unauthorized",
                "denied",
            ),
            (
                Some(500),
                "Get \"http://127.0.0.1:5000/v2/\": EOF",
                "registry",
            ),
            (None, "unexpected EOF", "registry"),
            (
                None,
                "toomanyrequests: You have reached your pull rate limit.",
                "rate",
            ),
            (
                None,
                "write /var/lib/docker/tmp/GetImageBlob1: no space left on device",
                "disk",
            ),
            (
                None,
                "failed to register layer: Error processing tar file(exit status 1): write /x: no space left on device",
                "disk",
            ),
            (
                Some(409),
                "conflict: unable to remove repository reference \"x:1\" (must force) - container abc is using its referenced image def",
                "in use",
            ),
            (
                Some(409),
                "conflict: unable to delete abc (cannot be forced) - image is being used by running container def",
                "in use",
            ),
            (
                Some(409),
                "conflict: unable to delete abc (must be forced) - image is referenced in multiple repositories",
                "conflict",
            ),
            (
                Some(409),
                "conflict: unable to delete abc (cannot be forced) - image has dependent child images",
                "conflict",
            ),
            (Some(500), "something new", "other"),
        ];
        for (status, message, expected) in said {
            assert_eq!(kind(status, message), expected, "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(status in proptest::option::of(100u16..600), message in ".{0,300}") {
            let kept = classify(status, message.clone()).to_string();
            prop_assert_eq!(kept, message);
        }
    }
}

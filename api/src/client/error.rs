//! Errors of client commands, with hints and exit codes.

use super::credentials::CredentialsError;
use super::model::UserError;
use super::text::{Text, printable};
use std::io;
use url::Url;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The gateway did not answer, after retries.
    #[error("cannot reach the gateway at {url}: {reason}")]
    Unreachable {
        /// The gateway's URL.
        url: Url,
        /// The innermost cause.
        reason: String,
    },
    /// The URL is not a Wharfinger gateway's.
    #[error("{url} does not answer like a Wharfinger gateway: {reason}")]
    NotAGateway {
        /// The URL.
        url: Url,
        /// The fault of its response.
        reason: String,
    },
    /// There is no token, or the gateway does not accept it.
    #[error("{}", if *.had_token { format!("the gateway at {url} does not accept the token (it may have expired or been revoked)") } else { format!("you are not signed in to {url}") })]
    Unauthenticated {
        /// The gateway.
        url: Url,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// The gateway refused the request (`errors` of the response).
    #[error("{message} ({code})")]
    Request {
        /// `extensions.code`; `UNKNOWN` where there is none.
        code: Text,
        /// The gateway's message.
        message: Text,
    },
    /// A mutation returned `userErrors`.
    #[error("{}", refusal(.0))]
    Refused(Vec<UserError>),
    /// The followed job ended without success, or no thing or more than one has the name.
    #[error("{0}")]
    Failed(String),
    /// Arguments are wrong in a way that clap cannot detect.
    #[error("{0}")]
    Usage(String),
    /// Some of several requests failed. Each was reported when it did.
    #[error("{failed} of {asked} failed")]
    Partly {
        /// The number that failed.
        failed: usize,
        /// The number that were requested.
        asked: usize,
    },
    /// The file with tokens cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The person pressed Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    /// Reading the terminal or writing to it failed.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// TLS or the HTTP client cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

impl ClientError {
    /// Returns the exit code of the process: see [`EXIT_CODES`](super::EXIT_CODES).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::Unauthenticated { .. } => 4,
            Self::Interrupted(_) => 130,
            Self::Terminal(error) if error.kind() == io::ErrorKind::BrokenPipe => 141,
            _ => 1,
        }
    }

    /// Returns a hint of what to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => Some(
                "start one with `wharfinger serve`, or say where it is with --url or WHARFINGER_URL",
            ),
            Self::NotAGateway { .. } => Some("check --url or WHARFINGER_URL; it ends in /graphql"),
            Self::Unauthenticated { .. } => Some("run `wharfinger login`, or set WHARFINGER_TOKEN"),
            Self::Refused(errors)
                if errors
                    .iter()
                    .any(|error| error.code.raw() == "INSUFFICIENT_CREDITS") =>
            {
                Some(
                    "`wharfinger balance` shows your credits; `wharfinger rm` gives an image's charge back",
                )
            }
            Self::Request { code, .. } if code.raw() == "RATE_LIMITED" => {
                Some("wait a moment and try again")
            }
            _ => None,
        }
    }

    /// Returns whether the same request may succeed in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Request { code, .. } => matches!(code.raw(), "UNAVAILABLE" | "RATE_LIMITED"),
            _ => false,
        }
    }
}

fn refusal(errors: &[UserError]) -> String {
    let lines: Vec<_> = errors.iter().map(UserError::to_string).collect();
    lines.join("; ")
}

/// Returns the innermost cause of an error. The outer ones of HTTP clients repeat it.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    printable(&cause.to_string())
}

//! What can go wrong for a client command, what it says to do about it, and the exit code.

use super::credentials::CredentialsError;
use super::model::UserError;
use super::text::{Text, printable};
use std::io;
use url::Url;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer from the gateway, after retries.
    #[error("cannot reach the gateway at {url}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        url: Url,
        /// The innermost cause.
        reason: String,
    },
    /// Something answered, and it was not a Wharfinger gateway.
    #[error("{url} does not answer like a Wharfinger gateway: {reason}")]
    NotAGateway {
        /// Who answered.
        url: Url,
        /// What was wrong with the answer.
        reason: String,
    },
    /// No token, or one that the gateway does not take.
    #[error("{}", if *.had_token { format!("the gateway at {url} does not accept the token (it may have expired or been revoked)") } else { format!("you are not signed in to {url}") })]
    Unauthenticated {
        /// The gateway.
        url: Url,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// The gateway refused the request as such (`errors` of the response).
    #[error("{message} ({code})")]
    Request {
        /// `extensions.code`; `UNKNOWN` where there is none.
        code: Text,
        /// The gateway's words.
        message: Text,
    },
    /// A mutation returned `userErrors`.
    #[error("{}", refusal(.0))]
    Refused(Vec<UserError>),
    /// The job that was followed ended without success.
    #[error("{0}")]
    JobFailed(String),
    /// What was named does not exist, or not for this user.
    #[error("{0}")]
    NotFound(String),
    /// What was named is more than one thing.
    #[error("{0}")]
    Ambiguous(String),
    /// Arguments that clap alone cannot judge.
    #[error("{0}")]
    Usage(String),
    /// Several things were asked for and some failed; each was reported when it did.
    #[error("{failed} of {asked} failed")]
    Partly {
        /// How many failed.
        failed: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// The file with the tokens.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    /// Reading the terminal or writing to it failed.
    #[error("cannot use the terminal: {0}")]
    Terminal(#[from] io::Error),
    /// TLS or the HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

impl ClientError {
    /// The process's exit code: see [`EXIT_CODES`](super::EXIT_CODES).
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

    /// What the person can do about it.
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

    /// Whether asking again in a moment may help.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Request { code, .. } => matches!(code.raw(), "UNAVAILABLE" | "RATE_LIMITED"),
            _ => false,
        }
    }
}

fn refusal(errors: &[UserError]) -> String {
    let lines: Vec<_> = errors
        .iter()
        .map(|error| format!("{} ({})", error.message, error.code))
        .collect();
    lines.join("; ")
}

/// The innermost cause of an error: the outer ones of HTTP clients repeat what is known.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    printable(&cause.to_string())
}

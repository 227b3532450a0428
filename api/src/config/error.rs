//! Errors of settings, one line each.

use std::{fmt, io, path::PathBuf};

use figment::error::{Actual, Kind};

use super::layers::Layers;

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `default.toml`.
    Default,
    /// The settings file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("by default"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Variable(name) => write!(f, "from {name} in the environment"),
            Self::Flag => f.write_str("from a flag"),
        }
    }
}

/// Why the settings cannot be used. Each error prints as one line, without secrets.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The settings file is not TOML.
    #[error("the settings file {} is not TOML: {message}", path.display())]
    Syntax {
        /// The path as it was given.
        path: PathBuf,
        /// The place and the fault, from the parser.
        message: String,
    },
    /// The flags could not be read: a fault of the program.
    #[error("cannot read the flags: {0}")]
    Flags(Box<figment::Error>),
    /// No setting has this name.
    #[error("unknown setting {key} {origin}; known there: {known}")]
    Unknown {
        /// The full name, with dots.
        key: String,
        /// The source that has it.
        origin: Origin,
        /// The settings that exist there.
        known: String,
    },
    /// The value is bad.
    #[error("bad value of {key} {origin}: {found} is not {expected}")]
    Invalid {
        /// The full name, with dots.
        key: String,
        /// The source that has it.
        origin: Origin,
        /// The value as it was written, or a placeholder where it is secret.
        found: String,
        /// The kind of value that would be right, with an article.
        expected: String,
    },
}

/// Settings whose values must not be printed.
const SECRET: [&str; 4] = ["secret_key", "database_url", "redis_url", "traces.endpoint"];

impl ConfigError {
    /// A value that can be read but cannot work.
    pub(super) fn invalid(
        layers: &Layers,
        key: &str,
        found: impl fmt::Display,
        expected: &str,
    ) -> Self {
        let found = found.to_string();
        // Text before an @ may be a password, in any setting.
        let found = if SECRET.contains(&key) || found.contains('@') {
            "what is set".to_owned()
        } else {
            found
        };
        Self::Invalid {
            key: key.to_owned(),
            origin: layers.origin(key),
            found,
            expected: expected.to_owned(),
        }
    }

    /// A value that figment could not read.
    pub(super) fn of_value(error: &figment::Error, layers: &Layers) -> Self {
        let key = error.path.join(".");
        match &error.kind {
            Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
                Self::invalid(layers, &key, actual(found), words(expected))
            }
            // serde's `untagged` keeps only its "expecting" text, not the value.
            Kind::Message(expected) => Self::invalid(layers, &key, "what is set", expected),
            other => Self::invalid(layers, &key, "what is set", &format!("right ({other})")),
        }
    }
}

fn actual(found: &Actual) -> String {
    match found {
        Actual::Str(text) => format!("{text:?}"),
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        other => other.to_string(),
    }
}

fn words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        other => other,
    }
}

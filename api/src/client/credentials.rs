//! The file in which `wharfinger login` stores tokens, one for each gateway:
//! `$XDG_CONFIG_HOME/wharfinger/credentials.toml`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use url::Url;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error(
        "there is no place to keep the token: set XDG_CONFIG_HOME or HOME, or use WHARFINGER_TOKEN"
    )]
    NoConfigHome,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is not as `wharfinger login` writes it. Its content is secret, so the message does not quote it.
    #[error("{} is damaged: remove it and run `wharfinger login` again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The token cannot be sent in a header.
    #[error("a token is one line of visible ASCII characters; this one is not")]
    BadToken,
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    gateways: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) user: String,
    pub(crate) token: String,
    /// Whether the token is from signing in. Another one was created by its user, for a script.
    #[serde(default)]
    pub(crate) signed_in: bool,
}

/// The file, by its path. Each call reads or writes it as a whole.
pub(crate) struct Credentials {
    path: PathBuf,
}

impl Credentials {
    pub(crate) fn in_config_home(config_home: Option<&Path>) -> Result<Self, CredentialsError> {
        let home = config_home.ok_or(CredentialsError::NoConfigHome)?;
        Ok(Self {
            path: home.join("wharfinger").join("credentials.toml"),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the entry of a gateway.
    pub(crate) fn entry(&self, url: &Url) -> Result<Option<Entry>, CredentialsError> {
        Ok(self.read()?.gateways.remove(url.as_str()))
    }

    /// Stores the entry of a gateway in place of an earlier one, or removes it.
    pub(crate) fn set(&self, url: &Url, entry: Option<Entry>) -> Result<(), CredentialsError> {
        let mut file = self.read()?;
        match entry {
            Some(entry) => file.gateways.insert(url.to_string(), entry),
            None => file.gateways.remove(url.as_str()),
        };
        self.write(&file).map_err(|source| CredentialsError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn read(&self) -> Result<File, CredentialsError> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => toml::from_str(&text).map_err(|_| CredentialsError::Damaged {
                path: self.path.clone(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(File::default()),
            Err(source) => Err(CredentialsError::Read {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// Writes another file (mode 0600 from the start) and renames it, so that a reader sees the old file or the new one.
    fn write(&self, file: &File) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory)?;
        let text = toml::to_string(file).map_err(io::Error::other)?;
        let mut temporary = tempfile::NamedTempFile::new_in(directory)?;
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(&self.path)?;
        Ok(())
    }
}

/// Trims a token. Fails where it is not one line of visible ASCII, as a header needs.
pub(crate) fn parse_token(text: &str) -> Result<String, CredentialsError> {
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(CredentialsError::BadToken);
    }
    Ok(token.to_owned())
}

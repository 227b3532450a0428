//! The file in which `wharfinger login` keeps tokens: `$XDG_CONFIG_HOME/wharfinger/credentials.toml`, one token per gateway.

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
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what `wharfinger login` writes. Its content is a secret, so it is not quoted.
    #[error("{} is damaged: remove it and run `wharfinger login` again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A token that no header can carry.
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
    /// Whether signing in made the token, and not its user for some script.
    #[serde(default)]
    pub(crate) signed_in: bool,
}

/// The file, by its path; each call reads or writes it whole.
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

    /// The token for a gateway.
    pub(crate) fn token(&self, url: &Url) -> Result<Option<String>, CredentialsError> {
        Ok(self.entry(url)?.map(|entry| entry.token))
    }

    /// What is kept for a gateway.
    pub(crate) fn entry(&self, url: &Url) -> Result<Option<Entry>, CredentialsError> {
        Ok(self.read()?.gateways.remove(url.as_str()))
    }

    /// Remembers the token for a gateway in place of an earlier one.
    pub(crate) fn save(&self, url: &Url, entry: Entry) -> Result<(), CredentialsError> {
        let mut file = self.read()?;
        file.gateways.insert(url.to_string(), entry);
        self.replace(&file)
    }

    /// Forgets the token for a gateway.
    pub(crate) fn remove(&self, url: &Url) -> Result<(), CredentialsError> {
        let mut file = self.read()?;
        file.gateways.remove(url.as_str());
        self.replace(&file)
    }

    fn replace(&self, file: &File) -> Result<(), CredentialsError> {
        self.write(file).map_err(|source| CredentialsError::Write {
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

    /// Writes a file beside it (mode 0600 from the start) and renames it, so that a reader sees the old one or the new one.
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

/// A token as it goes into a header: trimmed, one line of visible ASCII.
pub(crate) fn parse_token(text: &str) -> Result<String, CredentialsError> {
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(CredentialsError::BadToken);
    }
    Ok(token.to_owned())
}

//! The keys of stored registry logins: `secret_key`, `secret_key_file`, or a file that is made once.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use tempfile::NamedTempFile;
use wharfinger_jobs::infra::keyring::Keyring;

use crate::config::Config;

/// The key file in the data directory of an embedded process.
const FILE: &str = "secret_key";

/// Returns the keys that are set. Without any, an embedded process uses the key file of its data directory, and makes it if
/// needed; a fleet has none, because its processes need the same keys.
pub(crate) fn load(config: &Config) -> anyhow::Result<Option<Keyring>> {
    if let Some(key) = &config.secret_key {
        return Keyring::parse(key.expose())
            .map(Some)
            .context("bad value of secret_key (WHARFINGER_SECRET_KEY)");
    }
    if let Some(file) = &config.secret_key_file {
        return read(file)
            .map(Some)
            .context("bad value of secret_key_file (WHARFINGER_SECRET_KEY_FILE)");
    }
    if config.redis_url.is_some() {
        return Ok(None);
    }
    let file = config.data_dir.join(FILE);
    make(&file).with_context(|| format!("cannot make {}", file.display()))?;
    read(&file).map(Some)
}

fn read(file: &Path) -> anyhow::Result<Keyring> {
    let cannot = || format!("cannot use the key in {}", file.display());
    let text = zeroize::Zeroizing::new(fs::read_to_string(file).with_context(cannot)?);
    let others_may_read = fs::metadata(file).is_ok_and(|found| found.mode() & 0o077 != 0);
    if others_may_read {
        tracing::warn!(
            "others than its owner may read the key in {}: chmod 600 it",
            file.display()
        );
    }
    Keyring::parse(&text).with_context(cannot)
}

/// Makes the file with a new key, unless it exists. It gets its name when it is whole and on the disk, and one of several
/// processes that make it at once succeeds.
fn make(file: &Path) -> std::io::Result<()> {
    if file.exists() {
        return Ok(());
    }
    // tempfile makes files for their owner only.
    let mut draft = NamedTempFile::new_in(file.parent().unwrap_or(Path::new(".")))?;
    writeln!(draft, "{}", *Keyring::generate())?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(other) if other.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_only() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join(FILE);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| make(&file).unwrap());
            }
        });
        let made = fs::read_to_string(&file).unwrap();
        assert_eq!(made.trim().len(), 64);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        make(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), made);
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 1, "no draft is left");
        read(&file).unwrap();
    }

    #[test]
    fn what_is_no_key_is_named_and_not_repeated() {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("key");
        fs::write(&file, "hunter2").unwrap();
        let error = format!("{:#}", read(&file).unwrap_err());
        assert!(error.contains("at least 16 characters"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(read(&directory.path().join("none")).is_err());
    }
}

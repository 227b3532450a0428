//! Makes the files of this process private to its owner: those that it will make, and those that exist.
//!
//! New files are private from the start: the process' umask takes every right from group and others, which also covers
//! files that SQLite makes and log files that roll over. Files that an older version left readable are tightened at the
//! start. An existing directory is tightened only where it has our database or key in it, none but our files, and neither a
//! sticky nor a setgid bit, because `data_dir` may name one that other programs use too.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::Mode;
use rustix::process::{geteuid, umask};
use wharfinger_jobs::infra::db;

use crate::config::Config;

/// The permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Beginnings of the names of files that an older version may have left readable in a data directory.
const OURS: [&str; 5] = [
    "wharfinger.db",
    "secret_key",
    "logs",
    "workers",
    "lost+found",
];

/// Files that identify a directory as our data directory.
const MARKS: [&str; 2] = ["wharfinger.db", "secret_key"];

/// The setgid and the sticky bit, which mark a directory for several users.
const SHARED: u32 = 0o3000;

/// Makes the data directory, and takes all rights on the process' files from group and others. Returns warnings about files
/// that were readable. Fails where the directory cannot be made.
pub(crate) fn make_private(config: &Config) -> anyhow::Result<Vec<String>> {
    umask(Mode::from_raw_mode(OTHERS));
    let directory = &config.data_dir;
    let was_there = directory.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make the data directory {}", directory.display()))?;
    let mut said = Vec::new();
    let is_shared = tighten_directory(directory, was_there, &mut said)
        .with_context(|| format!("cannot look at the data directory {}", directory.display()))?;
    let logs = directory.join("logs");
    if !is_shared && logs.is_dir() {
        tighten(&logs, 0o700, &mut said);
    }
    for file in files(config, &logs) {
        tighten(&file, 0o600, &mut said);
    }
    Ok(said)
}

/// Returns the paths of our files, which may not exist.
fn files(config: &Config, logs: &Path) -> Vec<PathBuf> {
    let mut files = vec![config.data_dir.join("secret_key")];
    files.extend(db::files(config.database_url().expose()));
    let logged = fs::read_dir(logs).into_iter().flatten().flatten();
    files.extend(
        logged
            // Links and files with other names may be another program's.
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("worker"))
            .map(|entry| entry.path()),
    );
    files
}

/// Tightens a directory that only we use. Returns whether other programs may use it too.
fn tighten_directory(
    directory: &Path,
    was_there: bool,
    said: &mut Vec<String>,
) -> std::io::Result<bool> {
    let mode = fs::metadata(directory)?.mode();
    let is_marked = MARKS.iter().any(|name| directory.join(name).exists());
    let mut is_shared = was_there && (!is_marked || mode & SHARED != 0);
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let named = OURS
            .iter()
            .any(|ours| name.to_string_lossy().starts_with(ours));
        // The file may have gone since the directory was read.
        let found = entry.metadata().ok();
        let private = found
            .is_none_or(|found| found.uid() == geteuid().as_raw() && found.mode() & OTHERS == 0);
        is_shared |= !named && !private;
    }
    if !is_shared {
        tighten(directory, 0o700, said);
    } else if mode & OTHERS != 0 {
        said.push(format!(
            "others may look into {}: others may use it, or there are other files in it, so its mode is left as it is. A data_dir of its own is safer",
            directory.display()
        ));
    }
    Ok(is_shared)
}

/// Takes the rights of group and others from a file or directory of ours.
fn tighten(path: &Path, mode: u32, said: &mut Vec<String>) {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return said.push(format!("cannot look at {}: {error}", path.display())),
    };
    if found.mode() & OTHERS == 0 {
        return;
    }
    let (shown, was) = (path.display(), found.mode() & 0o7777);
    if found.uid() != geteuid().as_raw() {
        said.push(format!(
            "{shown} can be read by others and belongs to another user: its mode is {was:o}, chmod {mode:o} it"
        ));
        return;
    }
    said.push(
        match fs::set_permissions(path, Permissions::from_mode(mode)) {
            Ok(()) => {
                format!("{shown} could be read by others: its mode was {was:o} and is now {mode:o}")
            }
            Err(error) => {
                format!("{shown} can be read by others, and that cannot be changed: {error}")
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    /// Returns the mode of a directory with this mode and these files after it was tightened.
    fn tightened(before: u32, files: &[&str]) -> u32 {
        let parent = tempfile::TempDir::new().unwrap();
        let directory = parent.path().join("data");
        fs::create_dir(&directory).unwrap();
        for file in files {
            fs::write(directory.join(file), "").unwrap();
        }
        fs::set_permissions(&directory, Permissions::from_mode(before)).unwrap();
        tighten_directory(&directory, true, &mut Vec::new()).unwrap();
        mode(&directory)
    }

    #[test]
    fn only_a_directory_that_is_surely_ours_is_tightened() {
        assert_eq!(tightened(0o755, &["wharfinger.db"]), 0o700);
        assert_eq!(tightened(0o755, &["secret_key"]), 0o700);
        assert_eq!(tightened(0o755, &[]), 0o755);
        assert_eq!(tightened(0o1777, &["wharfinger.db"]), 0o1777);
        assert_eq!(tightened(0o2775, &["secret_key"]), 0o2775);
    }
}

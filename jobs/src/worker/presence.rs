//! A worker that starts frees the leases and locks of workers of its machine that are gone, rather than let them run out.
//!
//! Each worker keeps a file in the data directory that is locked for as long as its process lives. The kernel lets the lock go
//! with the process, however it ends.
//!
//! A file tells of a process of this boot of this kernel, whatever container it was in. What is left by another boot, or by
//! another machine that shares the directory, is believed of no one: those leases run out by themselves.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::Worker;
use crate::engine_images::lock;
use crate::error::ServiceError;
use crate::maintenance::vanished_workers;

/// In the data directory.
const FOLDER: &str = "workers";

/// The end of the files' names, once they are locked.
const ENDING: &str = "worker";

/// Time for which files of other boots are kept: longer than a lease lasts.
const KEPT: Duration = Duration::from_hours(24);

/// Longer than any file here.
const LONGEST: u64 = 4096;

impl Worker {
    /// Frees the leases of those workers that used this data directory and whose processes are gone, and tells of this one
    /// there. Without it, leases run out by themselves: so nothing here stops a worker from starting.
    #[must_use]
    pub async fn succeeding(mut self, data_dir: &Path) -> Self {
        match departed(data_dir) {
            Ok(departed) => {
                for gone in departed {
                    self.inherit(gone).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not look for workers that are gone: their leases run out by themselves");
            }
        }
        match Presence::announce(data_dir, &self.context.worker) {
            Ok(presence) => self.presence = Some(presence),
            Err(error) => {
                tracing::warn!(%error, "could not tell of this worker in the data directory: if it is killed, its leases have to run out");
            }
        }
        self
    }

    async fn inherit(&self, gone: Departed) {
        let worker = gone.worker.clone();
        match self.free(&worker).await {
            Ok(freed) => {
                tracing::info!(worker, jobs = freed, "freed what a worker that is gone had");
                gone.forget();
            }
            Err(error) => {
                tracing::warn!(worker, %error, "could not free what a worker that is gone had: its leases run out by themselves");
            }
        }
    }

    async fn free(&self, worker: &str) -> Result<usize, ServiceError> {
        let services = &self.context.services;
        lock::free_locks_of(services, worker).await?;
        vanished_workers::free_leases_of(services, worker).await
    }
}

/// The file of a worker that lives. Dropped, it says that the worker is gone.
#[derive(Debug)]
pub(super) struct Presence {
    file: File,
    path: PathBuf,
}

impl Presence {
    /// Tells of a worker in this data directory.
    fn announce(data_dir: &Path, worker: &str) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let name = Uuid::new_v4().simple().to_string();
        let unlocked = folder.join(&name);
        let mut file = OpenOptions::new();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        let mut file = file.write(true).create_new(true).open(&unlocked)?;
        file.try_lock().map_err(io::Error::from)?;
        write!(file, "{}\n{worker}\n", boot()?)?;
        // Only now do others look at it: they would find it unlocked.
        let path = unlocked.with_extension(ENDING);
        fs::rename(&unlocked, &path)?;
        Ok(Self { file, path })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // An orderly end: its jobs were handed back, or their leases run out.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

/// A worker of this machine whose process is gone.
#[derive(Debug)]
struct Departed {
    /// The name under which it had leases.
    worker: String,
    path: PathBuf,
    /// Locked until this is dropped: no other process tells of it at the same time.
    _file: File,
}

impl Departed {
    /// Removes its file, once its leases are freed.
    fn forget(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "could not remove the file of a worker that is gone");
        }
    }
}

/// The workers whose files are in this data directory, and whose processes are gone.
fn departed(data_dir: &Path) -> io::Result<Vec<Departed>> {
    let files = match fs::read_dir(data_dir.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let boot = boot()?;
    let mut departed = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_none_or(|ending| ending != ENDING) {
            continue;
        }
        match look_at(&path, &boot) {
            Ok(found) => departed.extend(found),
            // Another process was quicker, or the file cannot be read: leases run out by themselves.
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "could not look at the file of a worker");
            }
        }
    }
    Ok(departed)
}

fn look_at(path: &Path, boot: &str) -> io::Result<Option<Departed>> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = String::new();
    (&file).take(LONGEST).read_to_string(&mut text)?;
    let mut lines = text.lines();
    if let (Some(of), Some(worker)) = (lines.next(), lines.next())
        && of == boot
    {
        return Ok(Some(Departed {
            worker: worker.to_owned(),
            path: path.to_owned(),
            _file: file,
        }));
    }
    let age = SystemTime::now().duration_since(file.metadata()?.modified()?);
    if age.is_ok_and(|age| age > KEPT) {
        fs::remove_file(path)?;
    }
    Ok(None)
}

/// The id of this boot of the kernel. It is the same for all processes and containers on it.
fn boot() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn names(data_dir: &Path) -> Vec<String> {
        let departed = departed(data_dir).unwrap();
        departed.into_iter().map(|gone| gone.worker).collect()
    }

    #[test]
    fn a_worker_that_lives_is_not_departed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(names(folder.path()).is_empty());
        let one = Presence::announce(folder.path(), "one/1").unwrap();
        let two = Presence::announce(folder.path(), "one/2").unwrap();
        assert!(names(folder.path()).is_empty());
        drop((one, two));
        assert!(
            names(folder.path()).is_empty(),
            "an orderly end leaves nothing"
        );
    }

    #[test]
    fn one_that_was_killed_is_until_what_it_left_is_seen_to() {
        let folder = tempfile::tempdir().unwrap();
        let killed = Presence::announce(folder.path(), "one/1").unwrap();
        // As the kernel does.
        killed.file.unlock().unwrap();
        std::mem::forget(killed);
        let found = departed(folder.path()).unwrap();
        assert_eq!(found[0].worker, "one/1");
        assert!(
            names(folder.path()).is_empty(),
            "another process sees to it"
        );
        drop(found);
        assert_eq!(names(folder.path()), ["one/1"], "it was interrupted");
        for gone in departed(folder.path()).unwrap() {
            gone.forget();
        }
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_another_boot_or_machine_left_is_believed_of_no_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FOLDER);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("a.worker"), "another boot\none/1\n").unwrap();
        fs::write(path.join("b.worker"), "").unwrap();
        assert!(names(folder.path()).is_empty());
    }
}

//! A small file system of a test's own, to be filled.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

/// Time between two refills of a full disk: programs free what they delete.
const FILL_AGAIN: Duration = Duration::from_millis(5);

/// A mounted tmpfs. It is unmounted when this is dropped; where the test was killed, `with-servers.sh` unmounts what lies
/// in its directory.
pub struct SmallDisk {
    path: PathBuf,
    filler: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

impl SmallDisk {
    /// Mounts an empty disk of so many megabytes (of 1,048,576 bytes).
    pub fn mount(megabytes: u32) -> Self {
        let parent =
            std::env::var_os("WHARFINGER_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        // An engine's sockets lie below, and have at most 107 bytes.
        let name = format!("disk{:08x}", rand::random::<u32>());
        let path = parent.join(name);
        std::fs::create_dir(&path).unwrap();
        let disk = Self {
            path,
            filler: Mutex::default(),
        };
        let options = format!("size={megabytes}m,mode=1777");
        as_root(
            &["mount", "-t", "tmpfs", "-o", &options, "tmpfs"],
            &disk.path,
        );
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it to the last byte, and keeps it full until [`Self::free`].
    pub fn fill(&self) {
        let mut file = File::create(self.filler_path()).unwrap();
        fill_up(&mut file);
        let (free, freed) = channel();
        let filling = std::thread::spawn(move || {
            while freed.recv_timeout(FILL_AGAIN) == Err(RecvTimeoutError::Timeout) {
                fill_up(&mut file);
            }
        });
        *self.filler.lock() = Some((free, filling));
    }

    /// Gives the space back.
    pub fn free(&self) {
        if let Some((free, filling)) = self.filler.lock().take() {
            drop(free);
            filling.join().unwrap();
            std::fs::remove_file(self.filler_path()).unwrap();
        }
    }

    fn filler_path(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Some((free, filling)) = self.filler.lock().take() {
            drop(free);
            let _ = filling.join();
        }
        // Lazily: a server that a failed test left running may have files open.
        as_root(&["umount", "-l"], &self.path);
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Writes until nothing fits any more.
fn fill_up(file: &mut File) {
    for size in [64 * 1024, 4096, 1] {
        let block = vec![0; size];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Runs a command on a path as root, through sudo for anyone else.
fn as_root(words: &[&str], path: &Path) {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let words = [if is_root { &[][..] } else { &["sudo", "--"] }, words].concat();
    let status = Command::new(words[0])
        .args(&words[1..])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success() || std::thread::panicking(),
        "{words:?}: {status}"
    );
}

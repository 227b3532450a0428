//! Log files of a worker: JSON lines in `data_dir/logs`, in a bounded number of files. A thread of their own writes them,
//! so that a slow disk does not slow jobs.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation as Every};

use crate::observability::settings::{LogFileSettings, Rotation};

/// Most lines that wait for the disk. Further ones are dropped and counted.
const WAITING: usize = 4096;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines that could not be written since the process began.
static LOST: AtomicUsize = AtomicUsize::new(0);

/// Opens the current file. Dropping the guard writes the waiting lines. Fails where the directory cannot be made or written.
pub(crate) fn open(
    data_dir: &Path,
    settings: LogFileSettings,
) -> anyhow::Result<(WorkerGuard, NonBlocking)> {
    let folder = data_dir.join("logs");
    let failed = || format!("cannot write log files in {} (log_files)", folder.display());
    // The lines have references of images and names of users, which are for the owner alone.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(failed)?;
    let every = match settings.rotation {
        Rotation::Hourly => Every::HOURLY,
        Rotation::Daily => Every::DAILY,
        Rotation::Never => Every::NEVER,
    };
    let appender = RollingFileAppender::builder()
        .rotation(every)
        .filename_prefix("worker")
        .filename_suffix("log")
        .max_log_files(settings.keep)
        .build(&folder)
        .with_context(failed)?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log-files")
        .finish(WholeLines::new(appender));
    // The only logger of the process.
    let _ = DROPPED.set(writer.error_counter());
    Ok((guard, writer))
}

/// Returns the number of lines that were dropped because the disk was too slow or full; `None` without files.
pub(crate) fn dropped_lines() -> Option<usize> {
    let dropped = DROPPED.get().map(ErrorCounter::dropped_lines)?;
    Some(dropped.saturating_add(LOST.load(Ordering::Relaxed)))
}

/// A file that is given one line at a time. On a disk that is full it logs the failure once, loses lines, and continues with a
/// whole line. It never fails, because the code that calls it would drop an error silently.
struct WholeLines<W> {
    file: W,
    /// Whether the file ends inside a line.
    cut: bool,
    /// Lines that were lost since the last successful write.
    lost: usize,
}

impl<W: Write> WholeLines<W> {
    fn new(file: W) -> Self {
        Self {
            file,
            cut: false,
            lost: 0,
        }
    }

    fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.cut {
            self.file.write_all(b"\n")?;
            self.cut = false;
        }
        let mut left = line;
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    left = &left[written..];
                    self.cut = !left.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for WholeLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.write_line(line) {
            LOST.fetch_add(1, Ordering::Relaxed);
            self.lost += 1;
            if self.lost == 1 {
                // This line also waits for the file, but never for long: the queue drops lines that do not fit.
                tracing::warn!(%error, "log files cannot be written: lines are lost until they can be");
            }
        } else if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            tracing::info!(lost, "log files are written again");
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with room for so many bytes.
    struct Small {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.text.extend_from_slice(&bytes[..fits]);
            self.room -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_damages_no_other() {
        let small = Small {
            text: Vec::new(),
            room: 8,
        };
        let mut lines = WholeLines::new(small);
        for line in ["one\n", "two, cut\n", "lost\n"] {
            lines.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(lines.lost, 2);
        lines.file.room = 100;
        lines.write_all(b"four\n").unwrap();
        assert_eq!(lines.lost, 0);
        let text = String::from_utf8(lines.file.text).unwrap();
        assert_eq!(text, "one\ntwo,\nfour\n");
    }
}

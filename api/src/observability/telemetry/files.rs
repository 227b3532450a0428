//! Log files of a worker: JSON lines in `data_dir/logs`, in a bounded number of files. A thread of their own writes them,
//! so that a slow disk does not slow jobs.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context as _;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation as Every};

use super::whole_lines::{WholeLines, lost_lines};
use crate::observability::settings::{LogFileSettings, Rotation};

/// Most lines that wait for the disk. Further ones are dropped and counted.
const WAITING: usize = 4096;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// The open log files. Dropping it writes the waiting lines.
pub(crate) struct Files(#[expect(dead_code, reason = "kept until the end")] WorkerGuard);

/// Opens the current file. Fails where the directory cannot be made or written.
pub(crate) fn open(
    data_dir: &Path,
    settings: LogFileSettings,
) -> anyhow::Result<(Files, NonBlocking)> {
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
    Ok((Files(guard), writer))
}

/// Returns the number of lines that were dropped because the disk was too slow or full; `None` without files.
pub(crate) fn dropped_lines() -> Option<usize> {
    let dropped = DROPPED.get().map(ErrorCounter::dropped_lines)?;
    Some(dropped.saturating_add(lost_lines()))
}

//! A writer of log files on a disk that may be full: it logs the failure once, loses lines, and continues with a whole
//! line.

use std::io::{ErrorKind, Result, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines that could not be written since the process began.
static LOST: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of lines that could not be written.
pub(crate) fn lost_lines() -> usize {
    LOST.load(Ordering::Relaxed)
}

/// A file that is given one line at a time. It never fails, because the code that calls it would drop an error silently.
pub(crate) struct WholeLines<W> {
    file: W,
    /// Whether the file ends inside a line.
    cut: bool,
    /// Lines that were lost since the last successful write.
    lost: usize,
}

impl<W: Write> WholeLines<W> {
    pub(crate) fn new(file: W) -> Self {
        Self {
            file,
            cut: false,
            lost: 0,
        }
    }

    fn write_line(&mut self, line: &[u8]) -> Result<()> {
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
    fn write(&mut self, line: &[u8]) -> Result<usize> {
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

    fn flush(&mut self) -> Result<()> {
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
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.text.extend_from_slice(&bytes[..fits]);
            self.room -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> Result<()> {
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

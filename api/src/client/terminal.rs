//! The output of a command: the process's stdout and stderr, or buffers of a test.

use super::error::ClientError;
use super::text::printable_json;
use anstyle::{AnsiColor, Style};
use indicatif::ProgressDrawTarget;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// For success.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// For failure.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// For what waits or needs attention.
pub(crate) const NOTICE: Style = AnsiColor::Yellow.on_default();
/// For emphasis.
pub(crate) const STRONG: Style = Style::new().bold();
/// For details.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// One of the two outputs of a command.
struct Output {
    sink: Box<dyn Write + Send>,
    colour: bool,
    bars: Option<fn() -> ProgressDrawTarget>,
}

impl Output {
    fn plain(sink: Box<dyn Write + Send>) -> Self {
        Self {
            sink,
            colour: false,
            bars: None,
        }
    }
}

/// Both outputs of a command, and whether they can show colour and bars.
pub struct Terminal {
    out: Output,
    err: Output,
}

impl Terminal {
    /// The outputs of this process. Colour and bars need a terminal; `NO_COLOR` turns colour off, and `TERM=dumb` both.
    pub fn of_process() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let output = |sink, is_terminal: bool, bars: fn() -> ProgressDrawTarget| Output {
            sink,
            colour: is_terminal && !dumb && !no_colour,
            bars: (is_terminal && !dumb).then_some(bars),
        };
        Self {
            out: output(
                Box::new(io::stdout()),
                io::stdout().is_terminal(),
                ProgressDrawTarget::stdout,
            ),
            err: output(
                Box::new(io::stderr()),
                io::stderr().is_terminal(),
                ProgressDrawTarget::stderr,
            ),
        }
    }

    /// Two writers that are no terminal, as in a pipe.
    pub fn plain(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            out: Output::plain(out),
            err: Output::plain(err),
        }
    }

    /// Returns a copy that writes colours, for tests.
    #[cfg(test)]
    pub(crate) fn coloured(mut self) -> Self {
        self.out.colour = true;
        self.err.colour = true;
        self
    }

    /// Returns the target of progress bars, if bars can be shown: stderr, where stdout is for JSON.
    pub(crate) fn bars(&self, json: bool) -> Option<ProgressDrawTarget> {
        let output = if json { &self.err } else { &self.out };
        output.bars.map(|target| target())
    }

    /// Whether stdout shows colour.
    pub(crate) fn colour(&self) -> bool {
        self.out.colour
    }

    /// Returns `text` in `style`, where stdout shows colour.
    pub(crate) fn paint(&self, style: Style, text: impl std::fmt::Display) -> String {
        paint(self.out.colour, style, text)
    }

    /// Prints a line of the result.
    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Result<(), ClientError> {
        writeln!(self.out.sink, "{line}")?;
        Ok(self.out.sink.flush()?)
    }

    /// Prints a value as JSON on stdout: indented on a terminal, else on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), ClientError> {
        let json = if self.out.bars.is_some() {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        let json = json.map_err(io::Error::from)?;
        self.line(printable_json(&json))
    }

    /// Prints a remark that is not part of the result. Failing to write it is ignored.
    pub(crate) fn note(&mut self, note: impl std::fmt::Display) {
        let note = paint(self.err.colour, FAINT, note);
        let _ = writeln!(self.err.sink, "{note}");
    }

    /// Prints why a command failed, and what to do. Failing to write it is ignored.
    pub(crate) fn report(&mut self, error: &ClientError) {
        if error.exit_code() == 141 {
            return;
        }
        if let ClientError::Interrupted(message) = error {
            let _ = writeln!(self.err.sink, "{message}");
            return;
        }
        let label = paint(self.err.colour, BAD, "error:");
        let _ = writeln!(self.err.sink, "{label} {error}");
        if let Some(hint) = error.hint() {
            let label = paint(self.err.colour, NOTICE, "hint:");
            let _ = writeln!(self.err.sink, "{label} {hint}");
        }
    }
}

fn paint(colour: bool, style: Style, text: impl std::fmt::Display) -> String {
    if colour {
        format!("{style}{text}{style:#}")
    } else {
        text.to_string()
    }
}

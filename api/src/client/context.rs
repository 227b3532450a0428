//! The surroundings of a command, which tests can replace.

use super::terminal::Terminal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::time::Duration;

/// The surroundings of a command.
pub struct Context {
    /// The command's output.
    pub terminal: Terminal,
    /// The person's input.
    pub input: Box<dyn Input + Send>,
    /// Values of environment variables.
    pub environment: Environment,
    /// Waits and deadlines.
    pub pace: Pace,
    /// Completes when the person presses Ctrl-C.
    pub interrupt: BoxFuture<'static, ()>,
}

impl Context {
    /// The surroundings of this process.
    pub fn of_process() -> Self {
        Self {
            terminal: Terminal::of_process(),
            input: Box::new(Console),
            environment: Environment::of_process(),
            pace: Pace::default(),
            interrupt: interrupted().boxed(),
        }
    }
}

/// Completes at Ctrl-C. Where no handler can be set, it never does, and Ctrl-C ends the process.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Environment variables that are not also flags.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `WHARFINGER_TOKEN`. It is not a flag, because every user of a machine can read the arguments of its processes.
    pub token: Option<String>,
    /// `$XDG_CONFIG_HOME`, or `$HOME/.config`.
    pub config_home: Option<PathBuf>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // The XDG base directory specification ignores relative paths.
        let config_home = var("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        Self {
            token: var("WHARFINGER_TOKEN").and_then(|token| token.into_string().ok()),
            config_home: config_home
                .or_else(|| var("HOME").map(|home| PathBuf::from(home).join(".config"))),
        }
    }
}

/// Waits and deadlines of the client.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Most tries of a request that may be repeated.
    pub attempts: u32,
    /// The wait before the second try. Each further wait is twice as long.
    pub base_delay: Duration,
    /// The longest wait between tries.
    pub max_delay: Duration,
    /// How long the gateway may be unreachable while a job is followed.
    pub out_of_contact: Duration,
    /// Time between two polls of a job where no WebSocket is possible.
    pub poll: Duration,
    /// Silence after which a WebSocket is pinged. It is given up after as long again.
    pub silence: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            attempts: 4,
            base_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(5),
            out_of_contact: Duration::from_mins(2),
            poll: Duration::from_secs(1),
            silence: Duration::from_secs(15),
        }
    }
}

impl Pace {
    /// Returns the wait before try number `failures + 1`: doubling, with jitter so that many clients do not return at once.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let full = self
            .base_delay
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.max_delay);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// The person's input.
pub trait Input {
    /// Returns whether a person can be asked.
    fn is_interactive(&self) -> bool;
    /// Shows `prompt` and reads a line.
    fn line(&mut self, prompt: &str) -> io::Result<String>;
    /// Shows `prompt` and reads a line without showing it.
    fn secret(&mut self, prompt: &str) -> io::Result<String>;
    /// Reads everything on stdin.
    fn all(&mut self) -> io::Result<String>;
}

/// The process's stdin and controlling terminal.
struct Console;

impl Input for Console {
    fn is_interactive(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn line(&mut self, prompt: &str) -> io::Result<String> {
        eprint!("{prompt}");
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line)
    }

    fn secret(&mut self, prompt: &str) -> io::Result<String> {
        rpassword::prompt_password(prompt)
    }

    fn all(&mut self) -> io::Result<String> {
        /// Longer than any token, so that a pipe without an end does not fill the memory.
        const LIMIT: u64 = 64 * 1024;
        let mut text = String::new();
        io::stdin().lock().take(LIMIT).read_to_string(&mut text)?;
        Ok(text)
    }
}

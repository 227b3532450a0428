//! What a command takes from the process around it, so that tests can give it something else.

use super::terminal::Terminal;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::time::Duration;

/// Everything around a command.
pub struct Context {
    /// Where it writes.
    pub terminal: Terminal,
    /// What it reads from the person.
    pub input: Box<dyn Input + Send>,
    /// What it takes from environment variables.
    pub environment: Environment,
    /// How long it waits between tries.
    pub pace: Pace,
    /// Ends when the person presses Ctrl-C.
    pub interrupt: BoxFuture<'static, ()>,
}

impl Context {
    /// The process's own surroundings.
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

/// Without a handler for it, Ctrl-C cannot be waited for; the process then ends the default way.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The environment variables that are not also flags.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `WHARFINGER_TOKEN`. Not a flag, for a process's arguments are everyone's to read.
    pub token: Option<String>,
    /// `$XDG_CONFIG_HOME`, or `$HOME/.config`.
    pub config_home: Option<PathBuf>,
}

impl Environment {
    /// The process's own.
    pub fn of_process() -> Self {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        // The XDG base directory specification has relative paths ignored.
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

/// How patient the client is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often a request that may be repeated is tried.
    pub attempts: u32,
    /// The wait before the second try; it doubles from there.
    pub base_delay: Duration,
    /// The longest wait between tries.
    pub max_delay: Duration,
    /// How long a followed job may go without a sign of the gateway.
    pub out_of_contact: Duration,
    /// Between looks at a job where no WebSocket is to be had.
    pub poll: Duration,
    /// A WebSocket that is silent this long is asked for a sign of life, and given up after as long again.
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
    /// The wait before try number `failures + 1`: doubling, with jitter so that many clients do not come back at once.
    pub(crate) fn delay(&self, failures: u32) -> Duration {
        let full = self
            .base_delay
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(self.max_delay);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// What the person types.
pub trait Input {
    /// Whether somebody can be asked.
    fn is_interactive(&self) -> bool;
    /// Shows `prompt` and reads a line.
    fn line(&mut self, prompt: &str) -> io::Result<String>;
    /// Shows `prompt` and reads a line without showing it.
    fn secret(&mut self, prompt: &str) -> io::Result<String>;
    /// Everything on stdin.
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
        /// Longer than any token; a pipe that never ends must not fill the memory.
        const LIMIT: u64 = 64 * 1024;
        let mut text = String::new();
        io::stdin().lock().take(LIMIT).read_to_string(&mut text)?;
        Ok(text)
    }
}

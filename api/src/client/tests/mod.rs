//! The commands against a toy gateway on a free port: what they print, send and return.

mod commands;
mod contract;
mod pulls;
mod toy;
mod values;

use super::{ClientCommand, Context, Environment, Input, Pace, Terminal, execute};
use clap::{FromArgMatches as _, Subcommand as _};
use futures::FutureExt as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A writer that a test reads.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The person's input, given beforehand: whether there is a terminal, and the password.
struct Typed {
    interactive: bool,
    secret: &'static str,
}

impl Input for Typed {
    fn is_interactive(&self) -> bool {
        self.interactive
    }

    fn line(&mut self, _: &str) -> io::Result<String> {
        Ok("alice\n".to_owned())
    }

    fn secret(&mut self, _: &str) -> io::Result<String> {
        Ok(self.secret.to_owned())
    }

    fn all(&mut self) -> io::Result<String> {
        Ok("good-token\n".to_owned())
    }
}

/// The result of a command.
#[derive(Debug)]
struct Outcome {
    code: u8,
    out: String,
    err: String,
}

impl Outcome {
    /// Fails unless this was the exit code, and `err` was written to stderr among other things.
    #[track_caller]
    fn ended(&self, code: u8, err: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(err), "{err} is not in {self:?}");
    }
}

/// Runs a command of the user that is signed in by the environment.
async fn run(url: &str, args: &str) -> Outcome {
    Bench::new().run(url, args).await
}

/// A command's surroundings in a test: signed in by the environment, never interrupted.
struct Bench {
    context: Context,
    out: Buffer,
    err: Buffer,
}

impl Bench {
    fn new() -> Self {
        let (out, err) = (Buffer::default(), Buffer::default());
        let context = Context {
            terminal: Terminal::plain(Box::new(out.clone()), Box::new(err.clone())),
            input: Box::new(Typed {
                interactive: true,
                secret: "right",
            }),
            environment: Environment {
                token: Some(toy::TOKEN.to_owned()),
                config_home: None,
            },
            pace: Pace {
                attempts: 3,
                base_delay: Duration::from_millis(1),
                max_delay: Duration::from_millis(2),
                out_of_contact: Duration::from_millis(50),
                poll: Duration::from_millis(1),
                silence: Duration::from_secs(10),
            },
            interrupt: std::future::pending().boxed(),
        };
        Self { context, out, err }
    }

    /// Without a token, and with a place to keep one.
    fn signed_out(config_home: &Path) -> Self {
        let mut bench = Self::new();
        bench.context.environment = Environment {
            token: None,
            config_home: Some(config_home.to_owned()),
        };
        bench
    }

    /// Runs `wharfinger ARGS --url URL`, where a space separates two arguments.
    async fn run(mut self, url: &str, args: &str) -> Outcome {
        let program = ClientCommand::augment_subcommands(clap::Command::new("wharfinger"));
        let args = format!("wharfinger {args} --url {url}");
        let matches = program.try_get_matches_from(args.split(' ')).unwrap();
        let command = ClientCommand::from_arg_matches(&matches).unwrap();
        let code = match Box::pin(execute(command, &mut self.context)).await {
            Ok(()) => 0,
            Err(error) => {
                self.context.terminal.report(&error);
                error.exit_code()
            }
        };
        Outcome {
            code,
            out: self.out.text(),
            err: self.err.text(),
        }
    }
}

#[test]
fn the_arguments_are_well_formed() {
    ClientCommand::augment_subcommands(clap::Command::new("wharfinger")).debug_assert();
}

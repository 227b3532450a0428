//! The terminal client of the GraphQL API: `wharfinger login / logout / pull / images / rm / jobs / balance / statement`.
//!
//! A command is a clap `Args` and a `run(args, &mut Context)` in a file of its own. It finds the gateway and the token
//! ([`connection`]), sends the documents of `documents/` ([`operations`], [`gateway`]), follows a pull over a WebSocket
//! ([`socket`], [`follow`], [`progress`]) and writes to a [`Terminal`]. [`run`] turns its result into the exit code of the
//! process: see [`EXIT_CODES`].

mod balance;
mod connection;
mod context;
mod credentials;
mod error;
mod follow;
mod gateway;
mod images;
mod jobs;
mod jobs_render;
mod login;
mod logout;
mod model;
mod operations;
mod progress;
mod progress_bars;
mod pull;
mod remove;
mod resolve;
mod socket;
mod statement;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

#[cfg(test)]
pub(crate) use operations::ALL as DOCUMENTS;

pub use balance::BalanceArgs;
pub use connection::ConnectionArgs;
pub use context::{Context, Environment, Input, Pace};
pub use credentials::CredentialsError;
pub use error::ClientError;
pub use images::ImagesArgs;
pub use jobs::JobsArgs;
pub use login::LoginArgs;
pub use logout::LogoutArgs;
pub use pull::PullArgs;
pub use remove::RemoveArgs;
pub use statement::StatementArgs;
pub use terminal::Terminal;

use clap::Subcommand;
use std::process::ExitCode;

/// The end of the `--help` of every client command.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the request was refused, or the job failed
  2    wrong usage
  3    the gateway cannot be reached
  4    not signed in: run `wharfinger login`
  130  interrupted; a job that was accepted goes on
  141  the reader of the output went away";

/// The commands that talk to a gateway, to be flattened into the program's own subcommands.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Sign in to a gateway and remember the token
    Login(LoginArgs),
    /// Revoke the token of a sign-in and forget it
    Logout(LogoutArgs),
    /// Pull an image onto a host and watch it arrive
    Pull(PullArgs),
    /// List the images you hold and the public ones
    #[command(visible_alias = "ls")]
    Images(ImagesArgs),
    /// Remove images and get their charge back
    Rm(RemoveArgs),
    /// List, show, watch, cancel or retry jobs
    Jobs(JobsArgs),
    /// Show your credits
    Balance(BalanceArgs),
    /// List every movement of your credits, oldest first
    Statement(StatementArgs),
}

/// Runs one command and returns its result, for callers that capture the output.
pub async fn execute(command: ClientCommand, context: &mut Context) -> Result<(), ClientError> {
    match command {
        ClientCommand::Login(args) => login::run(args, context).await,
        ClientCommand::Logout(args) => logout::run(args, context).await,
        ClientCommand::Pull(args) => pull::run(args, context).await,
        ClientCommand::Images(args) => images::run(args, context).await,
        ClientCommand::Rm(args) => remove::run(args, context).await,
        ClientCommand::Jobs(args) => jobs::run(args, context).await,
        ClientCommand::Balance(args) => balance::run(args, context).await,
        ClientCommand::Statement(args) => statement::run(args, context).await,
    }
}

/// Runs one command on the process's own terminal. Errors go to stderr, and the exit code is one of [`EXIT_CODES`].
pub async fn run(command: ClientCommand) -> ExitCode {
    let mut context = Context::of_process();
    match execute(command, &mut context).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            context.terminal.report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

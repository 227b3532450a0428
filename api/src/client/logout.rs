//! `wharfinger logout`.

use super::EXIT_CODES;
use super::connection::ConnectionArgs;
use super::context::Context;
use super::credentials::Credentials;
use super::error::ClientError;
use super::gateway::Gateway;
use super::operations::SignOut;
use super::terminal::GOOD;
use clap::Args;
use serde_json::json;

/// Arguments of `wharfinger logout`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct LogoutArgs {
    /// The gateway to sign out of.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Revokes the token that `wharfinger login` got for the gateway, and removes it. A token that was given to `login` is only
/// removed, and remains valid elsewhere.
pub(super) async fn run(args: LogoutArgs, context: &mut Context) -> Result<(), ClientError> {
    let url = &args.connection.url;
    let credentials = Credentials::in_config_home(context.environment.config_home.as_deref())?;
    let Some(entry) = credentials.entry(url)? else {
        context
            .terminal
            .note(format_args!("Not signed in to {url}"));
        return Ok(());
    };
    if entry.signed_in {
        let gateway = Gateway::new(url.clone(), Some(entry.token), context.pace)?;
        match gateway.execute::<SignOut>(&json!({})).await {
            // Unauthenticated: already expired or revoked.
            Ok(_) | Err(ClientError::Unauthenticated { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    credentials.set(url, None)?;
    let done = context.terminal.paint(GOOD, "Signed out");
    context.terminal.line(format_args!("{done} of {url}"))?;
    if !entry.signed_in {
        context.terminal.note(
            "The token was given to `wharfinger login` and goes on working where else it is used.",
        );
    }
    if context.environment.token.is_some() {
        context
            .terminal
            .note("WHARFINGER_TOKEN is set and goes on being used.");
    }
    Ok(())
}

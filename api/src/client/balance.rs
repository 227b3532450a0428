//! `wharfinger balance`.

use super::EXIT_CODES;
use super::connection::ConnectionArgs;
use super::context::Context;
use super::error::ClientError;
use super::operations::BalanceQuery;
use super::terminal::STRONG;
use clap::Args;
use serde_json::json;

/// Arguments of `wharfinger balance`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct BalanceArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The gateway to ask.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Shows the signed-in user's credits.
pub(super) async fn run(args: BalanceArgs, context: &mut Context) -> Result<(), ClientError> {
    let gateway = args.connection.gateway(context)?;
    let balance = gateway.execute::<BalanceQuery>(&json!({})).await?;
    let terminal = &mut context.terminal;
    if args.json {
        return terminal.json(&balance);
    }
    let available = terminal.paint(STRONG, &balance.available);
    terminal.line(format_args!("Available  {available}"))?;
    terminal.line(format_args!("Held       {}", balance.held))?;
    terminal.line(format_args!("Total      {}", balance.total))
}

//! `wharfinger login`.

use super::EXIT_CODES;
use super::connection::ConnectionArgs;
use super::context::Context;
use super::credentials::{Credentials, Entry, parse_token};
use super::error::ClientError;
use super::gateway::{Gateway, is_loopback};
use super::operations::{SignIn, ViewerQuery};
use super::terminal::GOOD;
use super::text::Text;
use clap::Args;
use serde_json::json;

const NO_PASSWORDS: &str = "this gateway does not sign in with a password. Have its operator run `wharfinger user create NAME`, \
    which prints a token, and give that to `wharfinger login --with-token`";

/// Arguments of `wharfinger login`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct LoginArgs {
    /// Read a token on stdin instead of asking for a name and a password
    #[arg(long)]
    pub with_token: bool,
    /// The user's name; otherwise it is asked for
    #[arg(long, short, value_name = "NAME", conflicts_with = "with_token")]
    pub name: Option<String>,
    /// Read the password on stdin instead of asking for it
    #[arg(long, requires = "name", conflicts_with = "with_token")]
    pub password_stdin: bool,
    /// The gateway to sign in to.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Gets a token, tries it, and stores it for the gateway's URL.
pub(super) async fn run(args: LoginArgs, context: &mut Context) -> Result<(), ClientError> {
    let url = &args.connection.url;
    let credentials = Credentials::in_config_home(context.environment.config_home.as_deref())?;
    if url.scheme() == "http" && !is_loopback(url) {
        context.terminal.note(format_args!(
            "{url} is not encrypted: others on the way can read what you sign in with."
        ));
    }
    let token = if args.with_token {
        parse_token(&context.input.all()?)?
    } else {
        sign_in(&args, context).await?
    };
    let gateway = Gateway::new(url.clone(), Some(token.clone()), context.pace)?;
    let user = gateway.execute::<ViewerQuery>(&json!({})).await?;
    let entry = Entry {
        user: user.name.raw().to_owned(),
        token,
        signed_in: !args.with_token,
    };
    credentials.set(url, Some(entry))?;
    let done = context.terminal.paint(GOOD, "Signed in");
    context
        .terminal
        .line(format_args!("{done} to {url} as {}", user.name))?;
    context.terminal.note(format_args!(
        "The token is kept in {}",
        credentials.path().display()
    ));
    if context.environment.token.is_some() {
        context
            .terminal
            .note("WHARFINGER_TOKEN is set and goes before it.");
    }
    Ok(())
}

/// Exchanges a name and a password for a token.
async fn sign_in(args: &LoginArgs, context: &mut Context) -> Result<String, ClientError> {
    if !args.password_stdin && !context.input.is_interactive() {
        return Err(ClientError::Usage(
            "there is no terminal to ask on: give a token on stdin with --with-token, or a password with --name and --password-stdin".to_owned(),
        ));
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => context.input.line("Name: ")?.trim().to_owned(),
    };
    let password = if args.password_stdin {
        let text = context.input.all()?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        context.input.secret("Password: ")?
    };
    let gateway = Gateway::new(args.connection.url.clone(), None, context.pace)?;
    let login = json!({ "input": { "name": name, "password": password } });
    match gateway.execute::<SignIn>(&login).await {
        Ok(session) => Ok(parse_token(&session.token)?),
        Err(ClientError::Request { message, .. }) if lacks_sign_in(&message) => {
            Err(ClientError::Failed(NO_PASSWORDS.to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// Returns whether the gateway's schema has no `signIn`, by the names in its error.
fn lacks_sign_in(message: &Text) -> bool {
    let message = message.raw();
    ["signIn", "SignInInput", "not configured for mutations"]
        .iter()
        .any(|name| message.contains(name))
}

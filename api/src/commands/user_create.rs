//! `wharfinger user create`: creates a user directly in the database.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use wharfinger_entity::{Credits, Role};
use wharfinger_jobs::accounts::{NewUser, create_token, create_user, weakness};
use wharfinger_jobs::error::ServiceError;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::infra::password_hashing::Passwords;

use crate::config::Config;
use crate::startup;

/// Longest password that is read, in bytes: a longer one is a mistake, and costly to hash.
const MAX_PASSWORD: usize = 1024;

/// Name of the token that the command prints.
const TOKEN_NAME: &str = "made with the user";

/// Creates the user, and prints an API token alone on standard output. A weak password is accepted with a warning, because
/// the caller may write the database.
pub(crate) async fn run(
    config: &Config,
    name: String,
    admin: bool,
    credits: Option<Credits>,
    password_stdin: bool,
) -> anyhow::Result<()> {
    let password_hash = if password_stdin {
        let password = read_password()?;
        if let Some(weakness) = weakness(&password, &name) {
            eprintln!("wharfinger: warning: {weakness}");
        }
        let hash = Passwords::default().hash(&password).await;
        Some(hash.context("cannot hash the password")?)
    } else {
        None
    };
    let db = startup::database(config, true, Duration::ZERO).await?;
    let now = Clock::system().now();
    let new = NewUser {
        name,
        role: if admin { Role::Admin } else { Role::User },
        password_hash,
        credits: credits.unwrap_or(config.credits.initial),
    };
    let user = create_user(&db, &new, now)
        .await
        .map_err(|error| match error {
            ServiceError::Rejected(error) => anyhow::Error::new(error),
            error => anyhow::Error::new(error).context("cannot make the user"),
        })?;
    let token = create_token(&db, user.id, TOKEN_NAME, None, now)
        .await
        .context("cannot make the token")?;
    println!("{token}");
    Ok(())
}

fn read_password() -> anyhow::Result<String> {
    let mut password = String::new();
    let limit = MAX_PASSWORD as u64 + 2;
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut password)
        .context("cannot read the password from standard input")?;
    let password = password.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "standard input holds no password");
    ensure!(
        password.len() <= MAX_PASSWORD,
        "the password is longer than {MAX_PASSWORD} bytes"
    );
    Ok(password.to_owned())
}

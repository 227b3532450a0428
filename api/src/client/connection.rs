//! Flags that choose the gateway and the token.

use super::context::{Context, Environment};
use super::credentials::{Credentials, CredentialsError, parse_token};
use super::error::ClientError;
use super::gateway::Gateway;
use clap::Args;
use std::path::PathBuf;
use url::Url;

/// The flags that every client command has.
#[derive(Clone, Debug, Args)]
pub struct ConnectionArgs {
    /// The gateway's GraphQL endpoint
    #[arg(long, value_name = "URL", env = "WHARFINGER_URL", default_value = "http://127.0.0.1:8080/graphql", value_parser = endpoint, help_heading = "Connection")]
    pub url: Url,
    /// A file with the token; otherwise `WHARFINGER_TOKEN`, otherwise what `wharfinger login` kept
    #[arg(
        long,
        value_name = "FILE",
        env = "WHARFINGER_TOKEN_FILE",
        help_heading = "Connection"
    )]
    pub token_file: Option<PathBuf>,
}

impl ConnectionArgs {
    /// Returns the gateway, with the token from the first source that has one. Fails where the file with tokens cannot be
    /// read.
    pub(crate) fn gateway(&self, context: &Context) -> Result<Gateway, ClientError> {
        Gateway::new(
            self.url.clone(),
            self.token(&context.environment)?,
            context.pace,
        )
    }

    fn token(&self, environment: &Environment) -> Result<Option<String>, CredentialsError> {
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path).map_err(|source| CredentialsError::Read {
                path: path.clone(),
                source,
            })?;
            return parse_token(&text).map(Some);
        }
        if let Some(token) = &environment.token {
            return parse_token(token).map(Some);
        }
        match Credentials::in_config_home(environment.config_home.as_deref()) {
            Ok(credentials) => {
                let entry = credentials.entry(&self.url)?;
                entry.map(|entry| parse_token(&entry.token)).transpose()
            }
            Err(CredentialsError::NoConfigHome) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Parses an http(s) URL. One without a path gets the gateway's own, `/graphql`.
fn endpoint(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text)
        .map_err(|error| format!("{error}; it looks like http://127.0.0.1:8080/graphql"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("it starts with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold a password: use `wharfinger login`".to_owned());
    }
    if url.path() == "/" {
        url.set_path("/graphql");
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_needs_no_path() {
        assert_eq!(
            endpoint("http://h:1").unwrap().as_str(),
            "http://h:1/graphql"
        );
        assert_eq!(
            endpoint("https://h/a/graphql").unwrap().as_str(),
            "https://h/a/graphql"
        );
        for bad in ["h:1", "ftp://h", "http://u:p@h", ""] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}

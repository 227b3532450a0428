//! Requests to a registry with a user's login, or without one.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use tokio::time::Instant;
use url::Url;

use super::auth::{Challenge, Grant, Login, read_token, token_url};
use super::client::Shared;
use super::endpoint::Target;
use super::manifest::ACCEPT;
use super::transport::{Reply, TransportError};
use super::want::Want;

impl Shared {
    /// A URL of the registry, authorized as often as needed: with what is known, and once more if that is refused.
    pub(super) async fn authorized(
        &self,
        target: &Target,
        login: Option<&Login>,
        url: Url,
        want: Want,
    ) -> Result<Reply, TransportError> {
        let grant = Grant::new(target, login);
        let known = self.authorizations.get(&grant);
        let known = known.and_then(|(header, until)| (Instant::now() < until).then_some(header));
        let reply = self.ask(&url, want, known).await?;
        if reply.status != StatusCode::UNAUTHORIZED || reply.elsewhere {
            return Ok(reply);
        }
        self.authorizations.remove(&grant);
        let (header, life) = match Challenge::find(&reply.headers) {
            None => return Ok(reply),
            Some(Challenge::Basic) => match login {
                None => return Ok(reply),
                Some(login) => (login.basic(), BASIC_LIFE),
            },
            Some(Challenge::Bearer { realm, service }) => {
                let url = token_url(target, &realm, service.as_deref())?;
                let login = login.map(Login::basic);
                let answer = self.transport.get(url, "application/json", login).await?;
                if !answer.status.is_success() {
                    return Ok(as_refusal(answer));
                }
                read_token(&answer.body)?
            }
        };
        let reply = self.ask(&url, want, Some(header.clone())).await?;
        if reply.status.is_success() {
            self.authorizations
                .insert(grant, (header, Instant::now() + life));
        }
        Ok(reply)
    }

    async fn ask(
        &self,
        url: &Url,
        want: Want,
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, TransportError> {
        let url = url.clone();
        match want {
            Want::Document => self.transport.get(url, ACCEPT, authorization).await,
            Want::FirstByte => self.transport.probe(url, authorization).await,
            Want::Content => self.transport.open(url, authorization).await,
        }
    }
}

/// How long a password is sent without waiting for the challenge. It runs out at all so that a registry that has
/// become public stops being sent passwords.
const BASIC_LIFE: Duration = Duration::from_mins(5);

/// A token service that says anything against the request (some say 400 or 404 to a bad login) denies it.
fn as_refusal(mut answer: Reply) -> Reply {
    let status = answer.status;
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        answer.status = StatusCode::UNAUTHORIZED;
    }
    answer
}

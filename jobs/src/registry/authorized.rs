//! Requests to a registry with a user's login, or without one; with TLS, or without it.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::time::Instant;

use super::auth::{Challenge, Grant, Login, read_token, token_url};
use super::client::Shared;
use super::endpoint::Target;
use super::error::InvalidAnswer;
use super::transport::{Reply, TransportError, Want};

impl Shared {
    /// Asks for a manifest, or for a blob where that is wanted. A registry on the loopback is asked without TLS first, and
    /// again where it speaks TLS: `target` says so then.
    pub(super) async fn ask(
        &self,
        target: &mut Target,
        reference: &str,
        login: Option<&Login>,
        want: Want,
    ) -> Result<Reply, TransportError> {
        let first = self.authorized(target, reference, login, want).await;
        if !target.plain_http || !wants_tls(&first) {
            return first;
        }
        let over_tls = target.over_tls();
        let second = self.authorized(&over_tls, reference, login, want).await;
        if first.is_err() && !is_answered_in_tls(&second) {
            return first;
        }
        *target = over_tls;
        second
    }

    /// Asks as often as needed: with the authorization that is known, and once more if that is refused.
    async fn authorized(
        &self,
        target: &Target,
        reference: &str,
        login: Option<&Login>,
        want: Want,
    ) -> Result<Reply, TransportError> {
        let url = match want {
            Want::Document(_) => target.manifest_url(reference),
            Want::Head | Want::FirstByte | Want::Content => target.blob_url(reference),
        };
        let url = url.ok_or(InvalidAnswer::Name)?;
        let grant = Grant::new(target, login);
        let known = self.authorizations.get(&grant);
        let known = known.and_then(|(header, until)| (Instant::now() < until).then_some(header));
        let reply = self.transport.get(url.clone(), want, known).await?;
        if reply.status != StatusCode::UNAUTHORIZED || reply.elsewhere {
            return Ok(reply);
        }
        self.authorizations.remove(&grant);
        let (header, life) = match (Challenge::find(&reply.headers), login) {
            (None, _) | (Some(Challenge::Basic), None) => return Ok(reply),
            (Some(Challenge::Basic), Some(login)) => (login.basic(), BASIC_LIFE),
            (Some(Challenge::Bearer { realm, service }), _) => {
                let url = token_url(target, &realm, service.as_deref())?;
                let login = login.map(Login::basic);
                let json = Want::Document("application/json");
                let answer = self.transport.get(url, json, login).await?;
                if !answer.status.is_success() {
                    return Ok(as_refusal(answer));
                }
                read_token(&answer.body)?
            }
        };
        let reply = self.transport.get(url, want, Some(header.clone())).await?;
        if reply.status.is_success() {
            self.authorizations
                .insert(grant, (header, Instant::now() + life));
        }
        Ok(reply)
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

/// Plain HTTP was not what a loopback registry speaks: no HTTP came back, or Go's 400 to a request without TLS.
fn wants_tls(reply: &Result<Reply, TransportError>) -> bool {
    match reply {
        Ok(reply) => {
            reply.status == StatusCode::BAD_REQUEST
                && reply.body.windows(12).any(|text| text == b"HTTPS server")
        }
        Err(TransportError::Http(error)) => !error.is_connect() && !error.is_timeout(),
        Err(_) => false,
    }
}

/// Whether an answer came in TLS, or TLS failed on what the other side said in it: its certificate, or an alert.
fn is_answered_in_tls(reply: &Result<Reply, TransportError>) -> bool {
    let Err(TransportError::Http(error)) = reply else {
        return true;
    };
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return !matches!(error, rustls::Error::InvalidMessage(_));
        }
        // `source` of an input error passes over the error that it was made of.
        let wrapped = inner
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => inner.source(),
        };
    }
    false
}

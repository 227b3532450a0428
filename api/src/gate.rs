//! Who is calling: tokens, checked in the database.

use std::sync::Arc;

use async_graphql::{Data, Request};
use axum::http::{HeaderMap, header, request::Parts};
use serde_json::{Map, Value};
use wharfinger_jobs::accounts::authenticate;
use wharfinger_jobs::services::Services;
use wharfinger_jobs::trace::TraceContext;

use crate::graphql::{Caller, Loaders};
use crate::http::{ErrorCode, Gate, Refusal, Session, spans};

/// Lets requests in by their bearer token. A request without one gets in as nobody, who may see nothing.
#[derive(Clone)]
pub(crate) struct TokenGate {
    services: Services,
}

/// The token that a WebSocket was opened with: looked up again for each operation, so that a revoked one stops working.
struct Token(String);

impl TokenGate {
    /// A gate over these services.
    pub(crate) fn new(services: Services) -> Self {
        Self { services }
    }

    async fn caller(&self, token: &str, headers: Option<&HeaderMap>) -> Result<Caller, Refusal> {
        let now = self.services.clock.now();
        match authenticate(&self.services.db, token, now).await {
            Ok(Some(user)) => Ok(Caller {
                user,
                traceparent: Some(place(headers.and_then(spans::caller))),
            }),
            Ok(None) => Err(Refusal::new(
                ErrorCode::Unauthenticated,
                "this token is not known, has expired or was revoked: sign in again",
            )),
            Err(error) => {
                tracing::error!(%error, "could not check a token");
                Err(Refusal::new(
                    ErrorCode::Unavailable,
                    "the database does not answer: try again later",
                ))
            }
        }
    }
}

impl Gate for TokenGate {
    async fn request(&self, parts: &Parts) -> Result<Data, Refusal> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            return Ok(Data::default());
        };
        let token = value.to_str().ok().and_then(bearer).ok_or_else(malformed)?;
        let caller = self.caller(token, Some(&parts.headers)).await?;
        let mut data = Data::default();
        data.insert(Loaders::new(&self.services, &caller));
        data.insert(caller);
        Ok(data)
    }

    async fn connection(
        &self,
        upgrade: &Parts,
        payload: &Map<String, Value>,
    ) -> Result<Session, Refusal> {
        let in_payload = payload
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let token = if let Some((_, value)) = in_payload {
            value.as_str().and_then(bearer).ok_or_else(malformed)?
        } else {
            let header = upgrade.headers.get(header::AUTHORIZATION).ok_or_else(|| {
                Refusal::new(
                    ErrorCode::Unauthenticated,
                    "send {\"authorization\": \"Bearer …\"} as the payload of connection_init",
                )
            })?;
            header
                .to_str()
                .ok()
                .and_then(bearer)
                .ok_or_else(malformed)?
        };
        self.caller(token, None).await?;
        let mut data = Data::default();
        data.insert(Token(token.to_owned()));
        Ok(Session {
            data,
            ..Session::default()
        })
    }

    async fn operation(&self, session: &Arc<Data>, request: Request) -> Result<Request, Refusal> {
        let token = session
            .get(&std::any::TypeId::of::<Token>())
            .and_then(|token| token.downcast_ref::<Token>());
        let Some(Token(token)) = token else {
            return Ok(request);
        };
        let mut caller = self.caller(token, None).await?;
        let sent = request.data.get(&std::any::TypeId::of::<TraceContext>());
        if let Some(sent) = sent.and_then(|sent| sent.downcast_ref::<TraceContext>()) {
            caller.traceparent = Some(place(Some(sent.clone())));
        }
        Ok(request
            .data(Loaders::new(&self.services, &caller))
            .data(caller))
    }
}

/// The token of an `Authorization` header (RFC 6750, 2.1; the scheme's case does not matter, RFC 9110, 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn malformed() -> Refusal {
    Refusal::new(
        ErrorCode::Unauthenticated,
        "the authorization is not of the form `Bearer …`",
    )
}

/// Where in a trace what the caller asks for is: at the request's span; where nobody records traces, where the caller said
/// (`sent`), or in a trace of its own.
fn place(sent: Option<TraceContext>) -> String {
    TraceContext::current()
        .or(sent)
        .unwrap_or_else(TraceContext::unrecorded)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_the_scheme() {
        assert_eq!(bearer("Bearer whf_1"), Some("whf_1"));
        assert_eq!(bearer("bearer  whf_1 "), Some("whf_1"));
        for other in ["", "whf_1", "Bearer", "Bearer ", "Basic whf_1"] {
            assert_eq!(bearer(other), None, "{other}");
        }
    }
}

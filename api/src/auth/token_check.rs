//! Looks up tokens, and opens sessions for the connections that they authenticate.

use axum::http::HeaderMap;
use wharfinger_jobs::accounts::{Authenticated, OpenSession, Sessions, TokenLookups, note_use};
use wharfinger_jobs::services::Services;

use crate::auth::bearer::bearer_of;
use crate::auth::rate_limit::RateLimits;
use crate::http::{ErrorCode, Refusal, cookie};

/// Looks up tokens in the database. Clones share their look-ups and sessions.
#[derive(Clone)]
pub(crate) struct TokenCheck {
    services: Services,
    /// The open sessions of this gateway.
    pub(crate) sessions: Sessions,
    lookups: TokenLookups,
    rates: RateLimits,
}

impl TokenCheck {
    /// Must be called inside a Tokio runtime. The users of good tokens are noted in `rates`.
    pub(crate) fn new(services: Services, rates: RateLimits) -> Self {
        Self {
            sessions: Sessions::start(&services),
            lookups: TokenLookups::start(&services),
            services,
            rates,
        }
    }

    /// Returns who sent a request with these headers, and whether by the cookie; `None` for an anonymous one. Fails with
    /// `UNAUTHENTICATED` for a bearer token that is not good. An invalid cookie is anonymous: its browser must be able to sign
    /// in again.
    ///
    /// A browser sends the cookie with other sites' requests too, as far as `SameSite=Lax` allows. Check
    /// [`same_origin`](crate::http::same_origin) before acting on such a request.
    pub(crate) async fn headers(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<(Authenticated, bool)>, Refusal> {
        if let Some(token) = bearer_of(headers)? {
            return Ok(Some((self.good(token).await?, false)));
        }
        let Some(token) = cookie::session(headers) else {
            return Ok(None);
        };
        let found = self.find(token).await?;
        Ok(found.map(|found| (found, true)))
    }

    /// Returns the user of a token. Fails with `UNAUTHENTICATED` where the token is not good.
    pub(crate) async fn good(&self, token: &str) -> Result<Authenticated, Refusal> {
        let why = "this token is not known, has expired or was revoked: sign in again";
        let found = self.find(token).await?;
        found.ok_or_else(|| Refusal::new(ErrorCode::Unauthenticated, why))
    }

    /// Returns the user of a token, `None` where it is not good, by a statement that it shares with concurrent requests. Fails
    /// with `UNAVAILABLE` where the database does not answer.
    pub(crate) async fn find(&self, token: &str) -> Result<Option<Authenticated>, Refusal> {
        let why = "the database does not answer: try again later";
        let found = self.lookups.find(token).await;
        let found = found.map_err(|_logged| Refusal::new(ErrorCode::Unavailable, why))?;
        let user = found.as_ref().map(|found| found.user.id);
        self.rates.note(token, user);
        if let Some(found) = &found {
            note_use(&self.services, &found.token);
        }
        Ok(found)
    }

    /// Opens a session for a connection, and returns it with its user as of after the opening: the token is looked up again,
    /// because it may have been revoked before the session could be ended. Fails with `LIMIT_EXCEEDED` where the user has too
    /// many connections, and like [`Self::good`].
    pub(crate) async fn open(&self, token: &str) -> Result<(OpenSession, Authenticated), Refusal> {
        let at_most = self.services.settings.limits.sockets_per_user;
        let too_many = || {
            let message = format!("you have {at_most} sockets open, and that is the limit");
            Refusal::new(ErrorCode::LimitExceeded, message)
        };
        let known = self.rates.known(token);
        if known.is_some_and(|user| !self.sessions.has_room(user, at_most)) {
            return Err(too_many());
        }
        let mut found = self.good(token).await?;
        loop {
            let session = self.sessions.open_within(&found, at_most);
            let session = session.ok_or_else(too_many)?;
            found = self.good(token).await?;
            if found.user.role == session.role() {
                return Ok((session, found));
            }
        }
    }
}

//! Who is calling: tokens, in a header or in the console's cookie, checked in the database.

use std::sync::Arc;

use async_graphql::{Data, Request, ServerError};
use axum::http::{HeaderMap, request::Parts};
use ipnet::IpNet;
use serde_json::{Map, Value};
use uuid::Uuid;
use wharfinger_jobs::accounts::{Authenticated, OpenSession, Sessions, TokenLookups, note_use};
use wharfinger_jobs::infra::trace::TraceContext;
use wharfinger_jobs::services::Services;

use crate::auth::bearer::{self, bearer_of, offered};
use crate::auth::rate_limit::{OpenedSocket, RateLimits, Unidentified, Unresolved};
use crate::graphql::{Browser, Caller, Loaders, Rules, audience};
use crate::http::{
    Audience, ErrorCode, Gate, QuotaLeft, Refusal, Session, cookie, data_of, same_origin, spans,
};
use crate::server::client_address::client_address;
use crate::server::over_tls::over_tls;

/// Lets requests in by their token. A request without one gets in as nobody, who may do nothing but sign in.
#[derive(Clone)]
pub(crate) struct TokenGate {
    services: Services,
    sessions: Sessions,
    lookups: TokenLookups,
    /// For tokens that this process has not found good within the last minute. If thousands of them are no good, nobody who
    /// is known waits behind them.
    lookups_of_strangers: TokenLookups,
    trusted_proxies: Arc<[IpNet]>,
    rates: RateLimits,
    unidentified: Unidentified,
    rules: Arc<Rules>,
}

/// The token that a WebSocket was opened with: looked up again for each operation, so that a revoked one stops working.
struct Token {
    text: String,
    /// Whose it was then: no token becomes another user's.
    user: Uuid,
}

/// A request to open a socket, counted for this user already.
#[derive(Clone, Copy)]
struct CountedFor(Uuid);

impl TokenGate {
    /// A gate over these services, which lets documents in by these rules. Call it inside a Tokio runtime.
    pub(crate) fn new(services: Services, trusted_proxies: Vec<IpNet>, rules: Arc<Rules>) -> Self {
        Self {
            rules,
            sessions: Sessions::start(&services),
            rates: RateLimits::new(services.settings.limits.requests_per_second),
            unidentified: Unidentified::new(
                services.settings.limits.unidentified_sockets_per_address,
            ),
            lookups: TokenLookups::start(&services),
            lookups_of_strangers: TokenLookups::start(&services),
            services,
            trusted_proxies: trusted_proxies.into(),
        }
    }

    /// The connections that were let in, for whatever else lets some in.
    pub(crate) fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }

    /// Where tokens are looked up that may be no good, for whatever else lets some in.
    pub(crate) fn lookups_of_strangers(&self) -> TokenLookups {
        self.lookups_of_strangers.clone()
    }

    /// Who sent a request with these headers; none for nobody. A bearer token that is not good is refused. A cookie that
    /// is not good is nobody's: it must not keep its browser from signing in again.
    ///
    /// A browser sends the cookie with other sites' requests too, as far as `SameSite=Lax` lets it: whoever does anything
    /// for such a request has to ask [`same_origin`] first.
    pub(crate) async fn authenticated(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Caller>, Refusal> {
        let (found, by_cookie) = if let Some(token) = bearer_of(headers)? {
            (Some(self.good(token).await?), false)
        } else if let Some(token) = cookie::session(headers) {
            (self.look_up(token).await?, true)
        } else {
            (None, false)
        };
        Ok(found.map(|found| Caller {
            user: found.user,
            token: found.token,
            by_cookie,
            traceparent: Some(place(spans::caller(headers))),
        }))
    }

    /// Whose token it is, or a refusal.
    async fn good(&self, token: &str) -> Result<Authenticated, Refusal> {
        self.look_up(token).await?.ok_or_else(not_good)
    }

    /// Whose token it is, if it is good, looked up in one statement with what others ask at this moment.
    async fn look_up(&self, token: &str) -> Result<Option<Authenticated>, Refusal> {
        let lookups = match self.rates.known(token) {
            Some(_) => &self.lookups,
            None => &self.lookups_of_strangers,
        };
        let found = lookups.find(token).await.map_err(|_logged| unavailable())?;
        let user = found.as_ref().map(|found| found.user.id);
        self.rates.note(token, user);
        if let Some(found) = &found {
            note_use(&self.services, &found.token);
        }
        Ok(found)
    }

    /// Notes an open socket, and looks at its token again: it may have been revoked before the socket was noted. Whoever
    /// the token is found to be then, in the role that was noted, comes with it.
    async fn open(&self, token: &str) -> Result<(OpenSession, Authenticated), Refusal> {
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

impl Gate for TokenGate {
    async fn request(&self, parts: &Parts) -> Result<Data, Refusal> {
        let mut data = Data::default();
        let headers = &parts.headers;
        let own_page = same_origin(headers);
        data.insert(Browser {
            own_page,
            over_tls: over_tls(&parts.extensions, headers, &self.trusted_proxies)
                || cookie::page_over_tls(headers),
        });
        let address = client_address(&parts.extensions, headers, &self.trusted_proxies);
        if let Some(address) = address {
            data.insert(address);
        }
        let counted = self.rates.count(bearer::any_token(headers), address)?;
        data.insert(QuotaLeft::from(counted.quota));
        if let Some(unresolved) = counted.unresolved {
            data.insert(unresolved);
        }
        Ok(data)
    }

    fn knows(&self, parts: &Parts) -> bool {
        let token = bearer::any_token(&parts.headers);
        token.and_then(|token| self.rates.known(token)).is_some()
    }

    fn document(&self, request: &mut Request) -> Result<(), ServerError> {
        self.rules.note(request)
    }

    async fn caller(&self, parts: &Parts, mut data: Data) -> Result<Data, Refusal> {
        let headers = &parts.headers;
        let own_page = same_origin(headers);
        let unresolved = data_of::<Unresolved>(&data);
        let caller = self.authenticated(headers).await;
        let caller = caller.inspect_err(|refusal| forgive(unresolved, refusal))?;
        let quota = match (&caller, unresolved) {
            (Some(caller), Some(unresolved)) => unresolved.belongs_to(caller.user.id)?,
            (None, Some(unresolved)) => unresolved.belongs_to_nobody()?,
            (_, None) => None,
        };
        if let (Some(quota), Some(left)) = (quota, data_of::<QuotaLeft>(&data)) {
            left.note(quota);
        }
        // Another site's page cannot send JSON without asking first, and is not let in if it could. A query by GET it can
        // have sent, and could not read the answer, but measure it: it gets the answer that nobody gets.
        if let Some(caller) = caller.filter(|caller| !caller.by_cookie || own_page) {
            data.insert(Loaders::new(&self.services, &caller));
            data.insert(caller);
        }
        Ok(data)
    }

    async fn stream(&self, parts: &Parts, mut data: Data) -> Result<(Session, Data), Refusal> {
        let let_in =
            data_of::<Caller>(&data).map(|caller| (caller.by_cookie, caller.traceparent.clone()));
        let headers = &parts.headers;
        let token = match bearer_of(headers)? {
            Some(token) => Some(token),
            None => cookie::session(headers),
        };
        // Nobody's stream ends by itself: there is nothing that nobody may watch.
        let (Some(token), Some((by_cookie, traceparent))) = (token, let_in) else {
            return Ok((Session::default(), data));
        };
        let (open, found) = self.open(token).await?;
        let mut session = Session {
            ended: open.revoked().clone(),
            outdated: open.demoted().clone(),
            ..Session::default()
        };
        session.data.insert(open);
        // As whom the session was noted: what it ends with is what the stream may do.
        let caller = Caller {
            user: found.user,
            token: found.token,
            by_cookie,
            traceparent,
        };
        data.insert(Loaders::new(&self.services, &caller));
        data.insert(caller);
        Ok((session, data))
    }

    fn upgrade(&self, parts: &mut Parts) -> Result<(), Refusal> {
        let headers = &parts.headers;
        let token = bearer::any_token(headers);
        if let Some(user) = token.and_then(|token| self.rates.known(token)) {
            self.rates.count_user(user)?;
            parts.extensions.insert(CountedFor(user));
            return Ok(());
        }
        let address = client_address(&parts.extensions, headers, &self.trusted_proxies);
        let place = self.unidentified.enter(address)?;
        if let Some(opened) = self.rates.count_opening(address)? {
            parts.extensions.insert(Arc::new(opened));
        }
        if let Some(place) = place {
            parts.extensions.insert(Arc::new(place));
        }
        Ok(())
    }

    async fn connection(
        &self,
        upgrade: &Parts,
        payload: &Map<String, Value>,
    ) -> Result<Session, Refusal> {
        let address = client_address(&upgrade.extensions, &upgrade.headers, &self.trusted_proxies);
        let headers = &upgrade.headers;
        let token = offered(payload, headers)?;
        let counted_for = upgrade.extensions.get().map(|CountedFor(user)| *user);
        let opened = upgrade.extensions.get::<Arc<OpenedSocket>>();
        let give_back = || opened.inspect(|opened| opened.give_back());
        let known = self.rates.known(token);
        let mut unresolved = None;
        match known {
            Some(user) => {
                give_back();
                if counted_for != known {
                    self.rates.count_user(user)?;
                }
            }
            // Its address has paid for the look-up.
            None if opened.is_some() => {}
            None => unresolved = self.rates.count_unresolved(address)?.unresolved,
        }
        let session = self.open(token).await;
        let (session, found) = session.inspect_err(|refusal| {
            forgive(unresolved.as_ref(), refusal);
            if refusal.code != ErrorCode::Unauthenticated {
                give_back();
            }
        })?;
        if known.is_none() && give_back().is_some() {
            self.rates.count_user(found.user.id)?;
        }
        if let Some(unresolved) = unresolved {
            unresolved.belongs_to(found.user.id)?;
        }
        let (ended, outdated) = (session.revoked().clone(), session.demoted().clone());
        let mut data = Data::default();
        data.insert(Token {
            text: token.to_owned(),
            user: found.user.id,
        });
        data.insert(session);
        if let Some(address) = address {
            data.insert(address);
        }
        Ok(Session {
            data,
            ended,
            outdated,
        })
    }

    fn count(&self, session: &Data) -> Result<(), Refusal> {
        if let Some(token) = data_of::<Token>(session) {
            self.rates.count_user(token.user)?;
        }
        Ok(())
    }

    async fn operation(&self, session: &Arc<Data>, request: Request) -> Result<Request, Refusal> {
        let Some(token) = data_of::<Token>(session) else {
            return Ok(request);
        };
        let found = self.good(&token.text).await?;
        let noted = data_of::<OpenSession>(session);
        // What this socket ends with is the role that it was opened in: in another it would not end when that is taken away.
        if let Some(noted) = noted.filter(|noted| noted.role() != found.user.role) {
            noted.demoted().cancel();
            return Err(Refusal::new(
                ErrorCode::Forbidden,
                "your role has changed since this socket was opened: connect again",
            ));
        }
        let sent = data_of::<TraceContext>(&request.data);
        let caller = Caller {
            user: found.user,
            token: found.token,
            by_cookie: false,
            traceparent: Some(place(sent.cloned())),
        };
        Ok(request
            .data(Loaders::new(&self.services, &caller))
            .data(caller))
    }

    fn audience(&self, request: &mut Request) -> Option<Audience> {
        audience(request)
    }
}

/// Whoever was refused for another reason than their token owes nothing: the database may be away.
fn forgive(unresolved: Option<&Unresolved>, refusal: &Refusal) {
    if let Some(unresolved) = unresolved
        && refusal.code != ErrorCode::Unauthenticated
    {
        unresolved.let_go();
    }
}

fn not_good() -> Refusal {
    Refusal::new(
        ErrorCode::Unauthenticated,
        "this token is not known, has expired or was revoked: sign in again",
    )
}

fn unavailable() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "the database does not answer: try again later",
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

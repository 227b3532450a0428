//! The stages of a request, a stream and a WebSocket: they are counted, their documents measured, and their tokens looked up.

use std::sync::Arc;

use async_graphql::{Data, Request, ServerError};
use axum::http::request::Parts;
use ipnet::IpNet;
use serde_json::{Map, Value};
use uuid::Uuid;
use wharfinger_jobs::accounts::{Authenticated, OpenSession};
use wharfinger_jobs::infra::trace::TraceContext;
use wharfinger_jobs::services::Services;

use crate::auth::bearer::{self, bearer_of, offered};
use crate::auth::rate_limit::{PendingCharge, RateLimits};
use crate::auth::token_check::TokenCheck;
use crate::graphql::{Browser, Caller, Loaders, Rules, audience};
use crate::http::{
    Audience, Authenticator, ErrorCode, QuotaLeft, Refusal, Session, cookie, data_of, same_origin,
    spans,
};
use crate::server::forwarded::{ClientAddress, client_address, over_tls};

/// Authenticates callers by their tokens. A request without a token is anonymous, and may do no more than sign in.
#[derive(Clone)]
pub(crate) struct TokenAuthenticator {
    services: Services,
    /// The token look-ups, also of other listeners that authenticate callers.
    pub(crate) tokens: TokenCheck,
    trusted_proxies: Arc<[IpNet]>,
    /// The counts of requests, also to the same listeners.
    pub(crate) rates: RateLimits,
    rules: Arc<Rules>,
}

/// The token that a WebSocket was opened with. It is looked up for each operation, so that a revoked one stops working.
struct Token {
    text: String,
    /// Its user when the socket was opened. A token never changes its user.
    user: Uuid,
}

/// Marks a request to open a socket by the bucket that it was counted in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CountedFor {
    User(Uuid),
    Address,
}

impl TokenAuthenticator {
    /// An authenticator that measures documents by `rules`. Must be called inside a Tokio runtime.
    pub(crate) fn new(services: Services, trusted_proxies: Vec<IpNet>, rules: Arc<Rules>) -> Self {
        let limits = &services.settings.limits;
        let rates = RateLimits::new(
            limits.requests_per_second,
            limits.unidentified_sockets_per_address,
        );
        Self {
            tokens: TokenCheck::new(services.clone(), rates.clone()),
            trusted_proxies: trusted_proxies.into(),
            services,
            rates,
            rules,
        }
    }

    fn address(&self, parts: &Parts) -> Option<ClientAddress> {
        client_address(&parts.extensions, &parts.headers, &self.trusted_proxies)
    }

    /// Adds the caller to the data of a request, with loaders for what they may see.
    fn add_caller(
        &self,
        data: &mut Data,
        found: Authenticated,
        by_cookie: bool,
        traceparent: Option<String>,
    ) {
        let caller = Caller {
            user: found.user,
            token: found.token,
            by_cookie,
            traceparent,
        };
        data.insert(Loaders::new(&self.services, &caller));
        data.insert(caller);
    }
}

impl Authenticator for TokenAuthenticator {
    async fn request(&self, parts: &Parts) -> Result<Data, Refusal> {
        let mut data = Data::default();
        let headers = &parts.headers;
        let own_page = same_origin(headers);
        data.insert(Browser {
            own_page,
            over_tls: over_tls(&parts.extensions, headers, &self.trusted_proxies)
                || cookie::page_over_tls(headers),
        });
        let address = self.address(parts);
        if let Some(address) = address {
            data.insert(address);
        }
        let counted = self.rates.count(bearer::any_token(headers), address)?;
        data.insert(QuotaLeft::from(counted.quota));
        if let Some(pending) = counted.pending {
            data.insert(pending);
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
        let pending = data_of::<PendingCharge>(&data);
        let found = self.tokens.headers(headers).await;
        let found = found.inspect_err(|refusal| cancel_charge(pending, refusal))?;
        let quota = match (&found, pending) {
            (Some((found, _)), Some(pending)) => pending.charge_user(found.user.id)?,
            (None, Some(pending)) => pending.charge_address()?,
            (_, None) => None,
        };
        if let (Some(quota), Some(left)) = (quota, data_of::<QuotaLeft>(&data)) {
            left.note(quota);
        }
        // Another site's page can send a query by GET with the cookie, and could not read the answer, but measure it: it is
        // answered as an anonymous one. JSON it cannot send without a preflight.
        if let Some((found, by_cookie)) = found
            && (own_page || !by_cookie)
        {
            let place = Some(place(spans::caller(headers)));
            self.add_caller(&mut data, found, by_cookie, place);
        }
        Ok(data)
    }

    async fn stream(&self, parts: &Parts, mut data: Data) -> Result<(Session, Data), Refusal> {
        let caller = data_of::<Caller>(&data);
        let caller = caller.map(|caller| (caller.by_cookie, caller.traceparent.clone()));
        let headers = &parts.headers;
        let token = bearer_of(headers)?.or_else(|| cookie::session(headers));
        // An anonymous stream has no session: there is nothing that it may watch.
        let (Some(token), Some((by_cookie, traceparent))) = (token, caller) else {
            return Ok((Session::default(), data));
        };
        let (open, found) = self.tokens.open(token).await?;
        let session = session_of(open);
        // The user as of the opening: the session ends when they lose the role that they have here.
        self.add_caller(&mut data, found, by_cookie, traceparent);
        Ok((session, data))
    }

    fn upgrade(&self, parts: &mut Parts) -> Result<(), Refusal> {
        let headers = &parts.headers;
        let token = bearer::any_token(headers);
        if let Some(user) = token.and_then(|token| self.rates.known(token)) {
            self.rates.count_user(user)?;
            parts.extensions.insert(CountedFor::User(user));
            return Ok(());
        }
        let address = self.address(parts);
        let place = self.rates.count_unidentified(address)?;
        if self.rates.count_address(address)?.is_some() {
            parts.extensions.insert(CountedFor::Address);
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
        let address = self.address(upgrade);
        let token = offered(payload, &upgrade.headers)?;
        let counted_for = upgrade.extensions.get::<CountedFor>().copied();
        // Given back once the socket counts for a user, or fails through no fault of the client.
        let mut paid = address.filter(|_| counted_for == Some(CountedFor::Address));
        let known = self.rates.known(token);
        let mut pending = None;
        match known {
            Some(user) => {
                self.rates.refund(paid.take());
                if counted_for != Some(CountedFor::User(user)) {
                    self.rates.count_user(user)?;
                }
            }
            // Its address has paid for the look-up.
            None if paid.is_some() => {}
            None => pending = self.rates.count_pending(address)?.pending,
        }
        let opening = self.tokens.open(token).await;
        let (open, found) = opening.inspect_err(|refusal| {
            cancel_charge(pending.as_ref(), refusal);
            if refusal.code != ErrorCode::Unauthenticated {
                self.rates.refund(paid);
            }
        })?;
        if paid.is_some() {
            self.rates.refund(paid);
            self.rates.count_user(found.user.id)?;
        }
        if let Some(pending) = pending {
            pending.charge_user(found.user.id)?;
        }
        let mut session = session_of(open);
        session.data.insert(Token {
            text: token.to_owned(),
            user: found.user.id,
        });
        if let Some(address) = address {
            session.data.insert(address);
        }
        Ok(session)
    }

    fn count(&self, session: &Data) -> Result<(), Refusal> {
        if let Some(token) = data_of::<Token>(session) {
            self.rates.count_user(token.user)?;
        }
        Ok(())
    }

    async fn operation(
        &self,
        session: &Arc<Data>,
        mut request: Request,
    ) -> Result<Request, Refusal> {
        let Some(token) = data_of::<Token>(session) else {
            return Ok(request);
        };
        let found = self.tokens.good(&token.text).await?;
        // The socket ends when its user loses the role that it was opened in. In another role it would not.
        let opened = data_of::<OpenSession>(session);
        if let Some(opened) = opened.filter(|opened| opened.role() != found.user.role) {
            opened.demoted().cancel();
            let why = "your role has changed since this socket was opened: connect again";
            return Err(Refusal::new(ErrorCode::Forbidden, why));
        }
        let sent = data_of::<TraceContext>(&request.data).cloned();
        self.add_caller(&mut request.data, found, false, Some(place(sent)));
        Ok(request)
    }

    fn audience(&self, request: &mut Request) -> Option<Audience> {
        audience(request)
    }
}

/// Returns a session that ends with this one of a user's.
fn session_of(open: OpenSession) -> Session {
    let mut session = Session {
        ended: open.revoked().clone(),
        outdated: open.demoted().clone(),
        ..Session::default()
    };
    session.data.insert(open);
    session
}

/// Cancels the charge of a request that failed for another reason than its token, such as a database that does not answer.
fn cancel_charge(pending: Option<&PendingCharge>, refusal: &Refusal) {
    if let Some(pending) = pending
        && refusal.code != ErrorCode::Unauthenticated
    {
        pending.cancel();
    }
}

/// Returns the place in a trace of what the caller asks for: the current span; where no traces are recorded, the context that
/// the caller sent; else a trace of its own.
fn place(sent: Option<TraceContext>) -> String {
    TraceContext::current()
        .or(sent)
        .unwrap_or_else(TraceContext::unrecorded)
        .to_string()
}

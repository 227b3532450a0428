//! The interface through which the transports authenticate callers. The transports know nothing else of users and tokens.

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Data, Request, ServerError};
use axum::http::{HeaderMap, header, request::Parts};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::response::error::Refusal;

/// Admits requests and connections, and provides the data that their resolvers find in the context.
///
/// Each method is one stage. A refusal ends the request, the connection or the operation.
pub trait Authenticator: Clone + Send + Sync + 'static {
    /// Admits an HTTP request before its body is read: the stage for rate limits. Returns the request's data.
    fn request(&self, parts: &Parts) -> impl Future<Output = Result<Data, Refusal>> + Send;

    /// Returns whether the caller is known without asking the database, before the body is read. Long bodies of other
    /// callers share a bounded room.
    fn knows(&self, _parts: &Parts) -> bool {
        true
    }

    /// Checks a parsed document before its caller is known, on every transport: the stage for limits of documents. What it
    /// adds to the request's data is there at the execution.
    fn document(&self, _request: &mut Request) -> Result<(), ServerError> {
        Ok(())
    }

    /// Identifies the caller of an HTTP request whose body was read, given the data from [`Self::request`]. This comes
    /// after the body because a slow client may have lost its rights meanwhile.
    fn caller(
        &self,
        _parts: &Parts,
        data: Data,
    ) -> impl Future<Output = Result<Data, Refusal>> + Send {
        async move { Ok(data) }
    }

    /// Opens a session for a stream of events, given the data from [`Self::caller`]. Returns the session, whose tokens end
    /// the stream, and the data for its execution, which may outlast the stream where others share it.
    fn stream(
        &self,
        _parts: &Parts,
        data: Data,
    ) -> impl Future<Output = Result<(Session, Data), Refusal>> + Send {
        async move { Ok((Session::default(), data)) }
    }

    /// Admits a request to open a WebSocket: the stage for rate limits. Extensions that it adds are there at
    /// [`Self::connection`]. They are dropped after that, or at the end of a socket that never got there.
    fn upgrade(&self, _parts: &mut Parts) -> Result<(), Refusal> {
        Ok(())
    }

    /// Authenticates a WebSocket at its `connection_init`, given the request that opened it (cookies, origin) and the
    /// payload, empty where there was none. A refusal closes the socket: with 1013 for load, 4429 for too many sockets of
    /// the caller, else 4403.
    fn connection(
        &self,
        upgrade: &Parts,
        payload: &Map<String, Value>,
    ) -> impl Future<Output = Result<Session, Refusal>> + Send;

    /// Counts an operation on a WebSocket before its document is parsed: the stage for rate limits.
    fn count(&self, _session: &Data) -> Result<(), Refusal> {
        Ok(())
    }

    /// Identifies the caller of an operation on a WebSocket before it is executed, and adds the data that each operation
    /// has of its own, such as loaders.
    fn operation(
        &self,
        _session: &Arc<Data>,
        request: Request,
    ) -> impl Future<Output = Result<Request, Refusal>> + Send {
        async { Ok(request) }
    }

    /// Returns the callers who may share the execution of an admitted subscription; `None` where it is not shared.
    fn audience(&self, _request: &mut Request) -> Option<Audience> {
        None
    }
}

/// An admitted WebSocket connection or stream of events.
#[derive(Debug, Default)]
pub struct Session {
    /// Data that lasts as long as the session. Resolvers of its operations find it in the context, except in executions
    /// that are shared with others.
    pub data: Data,
    /// Cancelled when the session has ended (token revoked, user banned): the socket closes with 4401, the stream ends with
    /// an error.
    pub ended: CancellationToken,
    /// Cancelled when the session has lost a right (another role): the socket closes with 4403, the stream breaks, and the
    /// client may open another.
    pub outdated: CancellationToken,
}

/// The callers who may receive the same responses to the same text and variables. Only for subscriptions to a state, where
/// the newest response makes those before it worthless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// Everything that the responses depend on besides the request. Callers with equal `members` have the same rights.
    pub members: String,
    /// How long the newest response is current for a new subscriber; `None` where it is until the next one.
    pub fresh: Option<Duration>,
}

/// Returns the value of this type in the data of a request or session.
pub fn data_of<T: Any>(data: &Data) -> Option<&T> {
    data.get(&TypeId::of::<T>())?.downcast_ref()
}

/// Returns whether a request came from a page of this server, from the browser itself (a typed address), or from no
/// browser.
///
/// Check it before accepting a cookie: browsers open sockets across origins without a preflight, and send GET queries for
/// any page that links to them, which can measure the response even if it cannot read it. `Sec-Fetch-Site` is the browser's
/// own statement about the page; browsers send it to every server over TLS and on their own machine. Without it there is
/// `Origin`, which browsers leave out of a plain GET.
pub fn same_origin(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site == "cross-site" || site == "same-site") {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|text| Url::parse(text).ok());
    let (Some(host), Some(origin)) = (host, origin) else {
        return false;
    };
    // Behind a proxy the scheme of this server is not known. The origin's own scheme decides which port is the default.
    Url::parse(&format!("{}://{host}", origin.scheme()))
        .is_ok_and(|own| own.origin() == origin.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_origin_counts_as_the_same() {
        for (origin, host, expected) in [
            (None, "wharf.example", true),
            (Some("https://wharf.example"), "wharf.example", true),
            (Some("https://wharf.example"), "wharf.example:443", true),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:8080", true),
            (Some("http://127.0.0.1:8081"), "127.0.0.1:8080", false),
            (Some("https://evil.example"), "wharf.example", false),
            (Some("null"), "wharf.example", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
            assert_eq!(same_origin(&headers), expected, "{origin:?} {host}");
        }
    }
}

//! Who is calling: the transport's only question to the rest of the program.

use std::{
    any::{Any, TypeId},
    future::Future,
    sync::Arc,
    time::Duration,
};

use async_graphql::{Data, Request, ServerError};
use axum::http::{HeaderMap, header, request::Parts};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::response::error::Refusal;

/// Lets requests and connections in, and says what their resolvers find in the context.
pub trait Gate: Clone + Send + Sync + 'static {
    /// One HTTP request, seen before its body is read: the place for limits. What it returns becomes the request's data.
    fn request(&self, parts: &Parts) -> impl Future<Output = Result<Data, Refusal>> + Send;

    /// Whether it is known whose the request is, before its body is read and without asking the database. Long bodies of
    /// others share a bounded room.
    fn knows(&self, _parts: &Parts) -> bool {
        true
    }

    /// A document that was parsed, on every transport, before it is known who sent it: the place for limits that need no
    /// caller. What is noted in the request's data is there when it is executed.
    fn document(&self, _request: &mut Request) -> Result<(), ServerError> {
        Ok(())
    }

    /// The same request when its body is there, with what [`Self::request`] returned: the place to say who is calling. A
    /// client may take its time with a body, and what it was allowed to do when it began counts for nothing then.
    fn caller(
        &self,
        _parts: &Parts,
        data: Data,
    ) -> impl Future<Output = Result<Data, Refusal>> + Send {
        async move { Ok(data) }
    }

    /// A stream of events that was let in as a request, with what [`Self::caller`] returned: the place to say what ends
    /// it (by default nothing), and what its execution finds, which may outlast the stream where others share it.
    fn stream(
        &self,
        _parts: &Parts,
        data: Data,
    ) -> impl Future<Output = Result<(Session, Data), Refusal>> + Send {
        async move { Ok((Session::default(), data)) }
    }

    /// A request to open a WebSocket: the place for limits. What it adds to the extensions is there at
    /// [`Self::connection`], and is dropped when the socket has been let in, or at its end if it never is.
    fn upgrade(&self, _parts: &mut Parts) -> Result<(), Refusal> {
        Ok(())
    }

    /// A WebSocket's `connection_init`, with the request that opened the socket (cookies, origin) and the payload
    /// (empty when there was none). A refusal closes the socket with 4403, with 1013 when it is about load, or with 4429
    /// when it is about the number of the caller's sockets.
    fn connection(
        &self,
        upgrade: &Parts,
        payload: &Map<String, Value>,
    ) -> impl Future<Output = Result<Session, Refusal>> + Send;

    /// One operation on a WebSocket, before its document is looked at: the place for limits that count operations. A refusal
    /// ends this operation alone.
    fn count(&self, _session: &Data) -> Result<(), Refusal> {
        Ok(())
    }

    /// The same operation, before it is executed: the place for what must be fresh for each operation (who is calling, data
    /// loaders). A refusal ends this operation alone.
    fn operation(
        &self,
        _session: &Arc<Data>,
        request: Request,
    ) -> impl Future<Output = Result<Request, Refusal>> + Send {
        async { Ok(request) }
    }

    /// Who may share the execution of a subscription that was let in, data and all; nobody, unless the gate knows better.
    fn audience(&self, _request: &mut Request) -> Option<Audience> {
        None
    }
}

/// A WebSocket connection, or a stream of events, that was let in.
#[derive(Debug, Default)]
pub struct Session {
    /// What lasts as long as it does. The resolvers of its own operations find it in the context, those that it shares with
    /// others do not.
    pub data: Data,
    /// Cancelled when the session is over (token revoked, user banned): the socket closes with 4401, the stream ends with
    /// an error.
    pub ended: CancellationToken,
    /// Cancelled when the session may do less than when it was opened (another role): the socket closes with 4403, the
    /// stream breaks, and its client may open another.
    pub outdated: CancellationToken,
}

/// Who may be told what another subscriber of the same text and variables is told. A gate names an audience only for
/// subscriptions to a state, where the newest response makes the ones before it worthless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience {
    /// Everything that the responses depend on besides the request: callers with the same rights.
    pub members: String,
    /// How long the newest response is what a newcomer would be told; none where it is until the next one.
    pub fresh: Option<Duration>,
}

/// What a request's data or a session's has of this type.
pub fn data_of<T: Any>(data: &Data) -> Option<&T> {
    data.get(&TypeId::of::<T>())?.downcast_ref()
}

/// Whether a browser sent this from a page of this very server, or by itself (an address that was typed), or it was no
/// browser.
///
/// A gate that takes cookies has to ask: browsers open sockets across origins without a preflight, and send queries by
/// GET for any page that links to them. What such a page cannot read it can still measure. `Sec-Fetch-Site` is what the
/// browser itself says about the page; it is there for every server over TLS or on the browser's own machine. Without
/// it there is `Origin`, which browsers leave out of a plain GET.
pub fn same_origin(headers: &HeaderMap) -> bool {
    let from_elsewhere = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site == "cross-site" || site == "same-site");
    if from_elsewhere {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|text| Url::parse(text).ok());
    let (Some(host), Some(origin)) = (host, origin) else {
        return false;
    };
    // The scheme of this server is not known behind a proxy; the origin's own decides which port is meant.
    Url::parse(&format!("{}://{host}", origin.scheme()))
        .is_ok_and(|own| own.origin() == origin.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        same_origin(&headers)
    }

    #[test]
    fn what_the_browser_says_of_the_page_counts_where_there_is_no_origin() {
        for (site, expected) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "wharf.example".parse().unwrap());
            headers.insert("sec-fetch-site", site.parse().unwrap());
            assert_eq!(same_origin(&headers), expected, "{site}");
        }
    }

    #[test]
    fn only_the_own_origin_counts_as_the_same() {
        assert!(check(None, "wharf.example"));
        assert!(check(Some("https://wharf.example"), "wharf.example"));
        assert!(check(Some("https://wharf.example"), "wharf.example:443"));
        assert!(check(Some("http://127.0.0.1:8080"), "127.0.0.1:8080"));
        assert!(!check(Some("http://127.0.0.1:8081"), "127.0.0.1:8080"));
        assert!(!check(Some("https://evil.example"), "wharf.example"));
        assert!(!check(Some("null"), "wharf.example"));
    }
}

//! The client behind a request: its address, by which anonymous requests and wrong passwords are counted, and whether its
//! connection is encrypted. A trusted reverse proxy says both in headers; any other client's headers are ignored.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

/// One year, for this host alone: other hosts of its domain are not ours to decide about.
const STRICT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// The address of the client that sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// Marks the requests of a listener that speaks TLS itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encrypted;

/// Returns the client's address: the peer's, unless the peer is a trusted proxy. Then it is the last address in
/// `X-Forwarded-For` that is not a trusted proxy's, because a client can put anything in front of it.
pub(crate) fn client_address(
    extensions: &Extensions,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<ClientAddress> {
    let mut address = peer(extensions)?;
    let forwarded = headers.get_all("x-forwarded-for").iter().rev();
    let mut hops = forwarded
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.rsplit(','))
        .map_while(|hop| hop.trim().parse::<IpAddr>().ok());
    while is_among(address, trusted)
        && let Some(hop) = hops.next()
    {
        address = hop.to_canonical();
    }
    Some(ClientAddress(address))
}

/// Returns whether the client's connection is encrypted: it is our own TLS, or a trusted proxy says so in
/// `X-Forwarded-Proto`. Of several values the last one is the trusted proxy's.
pub(crate) fn over_tls(extensions: &Extensions, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    if extensions.get::<Encrypted>().is_some() {
        return true;
    }
    let said = headers.get_all("x-forwarded-proto").iter().next_back();
    let last = said.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    let https = last.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
    https && peer(extensions).is_some_and(|peer| is_among(peer, trusted))
}

/// Adds `Strict-Transport-Security` to responses over TLS, and to no others (HSTS; RFC 6797, 7.2).
pub(crate) async fn strict_transport(
    State(trusted): State<Arc<[IpNet]>>,
    request: Request,
    next: Next,
) -> Response {
    let strict = over_tls(request.extensions(), request.headers(), &trusted);
    let mut response = next.run(request).await;
    if strict {
        let headers = response.headers_mut();
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT);
    }
    response
}

/// Returns the address of the other end of the connection.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

fn is_among(address: IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    const PROXIES: &str = "10.0.0.0/8";

    /// The extensions and headers of a request from this peer, with a header of these values.
    fn request(peer: &str, name: &'static str, values: &[&str]) -> (Extensions, HeaderMap) {
        let mut extensions = Extensions::new();
        let peer: SocketAddr = peer.parse().unwrap();
        extensions.insert(ConnectInfo(peer));
        let name = HeaderName::from_static(name);
        let values = values.iter().map(|value| value.parse().unwrap());
        let headers = values.map(|value| (name.clone(), value)).collect();
        (extensions, headers)
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        let proxies = [PROXIES.parse().unwrap()];
        for (peer, forwarded, expected) in [
            ("192.0.2.1:1", &["9.9.9.9"][..], "192.0.2.1"),
            ("10.0.0.1:1", &["9.9.9.9, 192.0.2.7"], "192.0.2.7"),
            (
                "10.0.0.1:1",
                &["9.9.9.9", "192.0.2.7, 10.0.0.2"],
                "192.0.2.7",
            ),
            ("[::ffff:10.0.0.1]:1", &["192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["unknown"], "10.0.0.1"),
            ("10.0.0.1:1", &["192.0.2.7, x"], "10.0.0.1"),
        ] {
            let (extensions, headers) = request(peer, "x-forwarded-for", forwarded);
            let address = client_address(&extensions, &headers, &proxies).unwrap();
            assert_eq!(address.0.to_string(), expected, "{peer} {forwarded:?}");
        }
        let (extensions, headers) = request("192.0.2.1:1", "x-forwarded-for", &["9.9.9.9"]);
        let address = client_address(&extensions, &headers, &[]).unwrap();
        assert_eq!(address.0.to_string(), "192.0.2.1");
        assert_eq!(client_address(&Extensions::new(), &headers, &[]), None);
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        for (peer, said, expected) in [
            ("10.0.0.1:1", &["https"][..], true),
            ("[::ffff:10.0.0.1]:1", &["HTTPS"], true),
            ("192.0.2.1:1", &["https"], false),
            ("10.0.0.1:1", &[], false),
            // The first value came from the client.
            ("10.0.0.1:1", &["https, http"], false),
            ("10.0.0.1:1", &["https", "http"], false),
            ("10.0.0.1:1", &["http", "https"], true),
        ] {
            let (extensions, headers) = request(peer, "x-forwarded-proto", said);
            let found = over_tls(&extensions, &headers, &[PROXIES.parse().unwrap()]);
            assert_eq!(found, expected, "{peer} {said:?}");
        }
    }
}

//! Finds the address of the client behind a request, by which anonymous requests and wrong passwords are counted.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};
use ipnet::IpNet;

/// The address of the client that sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// Returns the client's address: the peer's, unless the peer is a trusted proxy. Then it is the last address in
/// `X-Forwarded-For` that is not a trusted proxy's, because a client can put anything in front of it.
pub(crate) fn client_address(
    extensions: &Extensions,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<ClientAddress> {
    let mut address = peer(extensions)?;
    let is_proxy = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let forwarded = headers.get_all("x-forwarded-for").iter().rev();
    let mut hops = forwarded
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.rsplit(','));
    while is_proxy(&address) {
        let Some(hop) = hops
            .next()
            .and_then(|hop| hop.trim().parse::<IpAddr>().ok())
        else {
            break;
        };
        address = hop.to_canonical();
    }
    Some(ClientAddress(address))
}

/// Returns whether a trusted proxy sent the request.
pub(crate) fn from_proxy(extensions: &Extensions, trusted: &[IpNet]) -> bool {
    peer(extensions).is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer)))
}

/// Returns the address of the other end of the connection.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut extensions = Extensions::new();
        let peer: IpAddr = peer.parse().unwrap();
        extensions.insert(ConnectInfo(SocketAddr::from((peer, 1))));
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let ClientAddress(address) = client_address(&extensions, &headers, &trusted).unwrap();
        address.to_string()
    }

    #[test]
    fn a_client_cannot_choose_its_address() {
        let proxies = ["10.0.0.0/8"];
        assert_eq!(seen("192.0.2.1", &["9.9.9.9"], &proxies), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", &["9.9.9.9"], &[]), "192.0.2.1");
        assert_eq!(
            seen("10.0.0.1", &["9.9.9.9, 192.0.2.7"], &proxies),
            "192.0.2.7"
        );
        let chain = ["9.9.9.9", "192.0.2.7, 10.0.0.2"];
        assert_eq!(seen("10.0.0.1", &chain, &proxies), "192.0.2.7");
        assert_eq!(
            seen("::ffff:10.0.0.1", &["192.0.2.7"], &proxies),
            "192.0.2.7"
        );
        for nothing in [vec![], vec!["unknown"], vec!["192.0.2.7, x"]] {
            assert_eq!(seen("10.0.0.1", &nothing, &proxies), "10.0.0.1");
        }
        assert_eq!(
            client_address(&Extensions::new(), &HeaderMap::new(), &[]),
            None
        );
    }
}

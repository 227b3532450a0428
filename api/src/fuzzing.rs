//! Properties of everything that clients send: no input panics, every accepted text has one spelling, and no header is
//! trusted without a proxy. The fuzzer (`api/fuzz`) and the property tests below run the same functions.

#![expect(
    clippy::missing_panics_doc,
    reason = "each panics where its property does not hold, which is what a fuzzer looks for"
)]

use std::net::{Ipv4Addr, SocketAddr};

use async_graphql::ID;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use wharfinger_jobs::queries::page::{PageArgs, Position};

use crate::auth::bearer;
use crate::board::auth;
use crate::graphql::ids;
use crate::http::websocket;
use crate::http::{Refusal, cookie};
use crate::server::forwarded::{client_address, over_tls};

/// Checks a text as a global id.
pub fn global_id(text: &str) {
    if let Some((kind, id)) = ids::parse(&ID(text.to_owned())) {
        assert_eq!(kind.id(id).as_str(), text);
    }
}

/// Checks a text as a cursor.
pub fn cursor(text: &str) {
    let read = Position::parse(text);
    if let Some(position) = &read {
        assert_eq!(position.cursor(), text);
    }
    for (after, before) in [(Some(text), None), (None, Some(text))] {
        let page = PageArgs {
            after: after.map(str::to_owned),
            before: before.map(str::to_owned),
            ..PageArgs::default()
        };
        assert_eq!(page.check().is_ok(), read.is_some());
    }
}

/// Checks bytes as each header that authenticates a caller or says where it came from.
pub fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let with = |name: HeaderName| HeaderMap::from_iter([(name, value.clone())]);
    let authorization = with(header::AUTHORIZATION);
    match bearer::bearer_of(&authorization) {
        Ok(token) => check_token(token.expect("the header is there"), bytes),
        Err(refusal) => check_refusal(&refusal),
    }
    // HTTP Basic has the token in base64.
    let _ = auth::token(&authorization);
    let cookies = with(header::COOKIE);
    if let Some(token) = cookie::session(&cookies) {
        check_token(token, bytes);
        assert!(!token.contains(';'));
        assert_eq!(auth::token(&cookies).as_deref(), Some(token));
    }
    let _ = cookie::page_over_tls(&with(header::ORIGIN));

    let mut extensions = Extensions::new();
    let peer = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1));
    extensions.insert(ConnectInfo(peer));
    let forwarded = with(HeaderName::from_static("x-forwarded-for"));
    let stranger = client_address(&extensions, &forwarded, &[]);
    assert_eq!(stranger.map(|address| address.0), Some(peer.ip()));
    let proxies = [peer.ip().into()];
    assert!(client_address(&extensions, &forwarded, &proxies).is_some());
    let proto = with(HeaderName::from_static("x-forwarded-proto"));
    assert!(!over_tls(&extensions, &proto, &[]));
    let _ = over_tls(&extensions, &proto, &proxies);
}

/// Checks a text as the first message on a WebSocket.
pub fn connection_init(text: &str) {
    match websocket::connection_init(text) {
        Ok(Some(payload)) => match bearer::offered(&payload, &HeaderMap::new()) {
            Ok(token) => {
                assert!(!token.is_empty() && token.trim() == token);
                let mut said = payload.values().filter_map(|value| value.as_str());
                assert!(said.any(|value| value.contains(token)));
            }
            Err(refusal) => check_refusal(&refusal),
        },
        Ok(None) => {}
        Err(frame) => {
            assert_eq!(frame.code, 4400);
            assert!(frame.reason.len() <= 123);
        }
    }
}

fn check_token(token: &str, bytes: &[u8]) {
    assert!(!token.is_empty() && token.trim() == token, "{token:?}");
    let found = bytes
        .windows(token.len())
        .any(|part| part == token.as_bytes());
    assert!(found, "{token:?}");
}

/// Refusals go to clients and into logs, so they must not repeat the input.
fn check_refusal(refusal: &Refusal) {
    let known = [
        "the authorization is not of the form `Bearer …`",
        "send {\"authorization\": \"Bearer …\"} as the payload of connection_init",
    ];
    assert!(known.contains(&&*refusal.message), "{}", refusal.message);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that begin as real ones do, and others.
    fn near(starts: &'static [&'static str]) -> impl Strategy<Value = String> {
        let start = prop::sample::select(starts);
        prop_oneof![
            any::<String>(),
            (start, "\\PC{0,40}").prop_map(|(start, rest)| format!("{start}{rest}")),
        ]
    }

    proptest! {
        #[test]
        fn ids(text in near(&["job_", "image_", "user_0198"]), hex in "[0-9a-fA-F]{30,34}") {
            global_id(&text);
            global_id(&format!("{text}{hex}"));
            global_id(&format!("token_{hex}"));
        }

        #[test]
        fn cursors(text in near(&["W251bGws", "WzEs"]), number: i64, word: String, id: [u8; 16]) {
            cursor(&text);
            let id = uuid::Uuid::from_bytes(id);
            for position in [Position::id(id), Position::number(number, id)] {
                assert_eq!(Position::parse(&position.cursor()), Some(position));
            }
            let position = Position::text(word.replace('\0', ""), id);
            cursor(&position.cursor());
        }

        #[test]
        fn the_headers_of_a_request(
            text in near(&["Bearer ", "Basic ", "whf_session=", "a=b; whf_session=", "https, ", "10.0.0.1, "]),
            bytes: Vec<u8>,
        ) {
            headers(text.as_bytes());
            headers(&bytes);
        }

        #[test]
        fn first_messages(
            text in near(&["{\"type\":\"connection_init\",\"payload\":", "{\"type\":\"ping\""]),
            name in "[aA]uthorization|\\PC{0,12}",
            value in near(&["Bearer ", "bearer"]),
        ) {
            connection_init(&text);
            let message = serde_json::json!({"type": "connection_init", "payload": {name: value}});
            connection_init(&message.to_string());
        }
    }
}

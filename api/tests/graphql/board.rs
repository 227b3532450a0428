//! Requests to the board, which count like those to the endpoint.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use tower::ServiceExt as _;

use super::gateway::{Gateway, Store};

/// Asks for the page, and returns the status and the seconds after which to try again.
async fn ask(board: &Router, token: &str, from: &str) -> (StatusCode, Option<String>) {
    let address: IpAddr = from.parse().unwrap();
    let request = Request::get("/")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .extension(ConnectInfo(SocketAddr::from((address, 1))))
        .body(Body::empty())
        .unwrap();
    let answer = board.clone().oneshot(request).await.unwrap();
    let wait = answer.headers().get(header::RETRY_AFTER);
    let wait = wait.map(|wait| wait.to_str().unwrap().to_owned());
    (answer.status(), wait)
}

/// Asks until a request is refused for their number, and returns how many were not, the last status before, and when to come
/// again.
async fn let_in(board: &Router, token: &str, from: &str) -> (usize, StatusCode, String) {
    let mut last = StatusCode::OK;
    for number in 0..1000 {
        let (status, wait) = ask(board, token, from).await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            return (number, last, wait.unwrap());
        }
        last = status;
    }
    panic!("a thousand requests of {from} were let in");
}

#[tokio::test]
async fn bad_tokens_count_for_their_address_and_good_ones_for_their_user() {
    let one_a_second = [("WHARFINGER_LIMITS__REQUESTS_PER_SECOND", "1")];
    let gateway = Gateway::with(Store::Sqlite, &one_a_second).await;
    let admin = gateway.admin("eve").await;
    let token = admin.token.as_deref().unwrap();
    let board = gateway.board();
    assert_eq!(ask(&board, token, "192.0.2.9").await.0, StatusCode::OK);
    let (number, status, wait) = let_in(&board, "whf_0", "192.0.2.1").await;
    assert!(number >= 2, "{number}");
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_ne!(wait, "0");
    // The administrator's token is known, so it counts for its user from any address.
    assert_eq!(ask(&board, token, "192.0.2.1").await.0, StatusCode::OK);
    let_in(&board, token, "192.0.2.9").await;
}

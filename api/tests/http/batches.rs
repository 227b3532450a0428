//! Several requests in one POST.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use wharfinger::http::TransportSettings;

use crate::http_toy::{Toy, serve_at, settings};
use crate::post_get::client;

async fn server(max_batch: usize) -> String {
    let settings = TransportSettings {
        max_batch,
        ..settings()
    };
    serve_at(&Toy::default(), settings).await
}

async fn send(url: &str, batch: &Value) -> Response {
    let request = client().post(url).json(batch).bearer_auth("user-ada");
    request.send().await.unwrap()
}

#[tokio::test]
async fn each_request_of_a_batch_is_answered_as_if_alone_and_in_its_place() {
    let url = server(5).await;
    let batch = json!([
        {"query": "{ caller }"},
        {"query": "{ nothing }"},
        {"query": "mutation($by: Int!) { increment(by: $by) }", "variables": {"by": 2}},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0".repeat(64)}}},
        {"query": "subscription { silence }"},
    ]);
    let answer = send(&url, &batch).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let media = &answer.headers()["content-type"];
    assert_eq!(media, "application/json; charset=utf-8");
    let answers: Vec<Value> = answer.json().await.unwrap();
    let code = |answer: &Value| answer["errors"][0]["extensions"]["code"].clone();
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[0], json!({"data": {"caller": "user-ada"}}));
    assert_eq!(code(&answers[1]), "BAD_REQUEST");
    assert!(answers[1].get("data").is_none());
    assert_eq!(answers[2], json!({"data": {"increment": 3}}));
    assert_eq!(code(&answers[3]), "PERSISTED_QUERY_NOT_FOUND");
    assert_eq!(code(&answers[4]), "BAD_REQUEST");
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let url = server(2).await;
    let one = json!({"query": "{ hello }"});
    for (batch, expected) in [
        (json!([one, one]), None),
        (json!([one, one, one]), Some("LIMIT_EXCEEDED")),
        (json!([]), Some("BAD_REQUEST")),
        (json!(["{ hello }"]), Some("BAD_REQUEST")),
        (json!([[one]]), Some("BAD_REQUEST")),
        (
            json!([["{ hello }", null, null, null]]),
            Some("BAD_REQUEST"),
        ),
    ] {
        let answer = send(&url, &batch).await;
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        match expected {
            None => assert_eq!(status, StatusCode::OK),
            Some(code) => {
                assert_eq!(status, StatusCode::BAD_REQUEST, "{batch}");
                assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{batch}");
            }
        }
    }
}

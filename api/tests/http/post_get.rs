//! GraphQL over HTTP, status by status.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wharfinger::http::TransportSettings;

use crate::http_toy::{Toy, serve, serve_at, settings};

const NEW: &str = "application/graphql-response+json";
const OLD: &str = "application/json";
const DEADLINE: Duration = Duration::from_secs(20);

/// reqwest is built without a TLS provider of its own; the first one in a process wins and any will do.
pub(crate) fn client() -> Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::new()
}

async fn endpoint() -> String {
    serve_at(&Toy::default(), settings()).await
}

async fn post(url: &str, accept: &str, body: &Value) -> Response {
    let request = client().post(url).header("accept", accept).json(body);
    request.send().await.unwrap()
}

/// The status, the media type without parameters, and the body.
async fn read(response: Response) -> (StatusCode, String, Value) {
    let media = response.headers()["content-type"].to_str().unwrap();
    let media = media.strip_suffix("; charset=utf-8").unwrap().to_owned();
    (response.status(), media, response.json().await.unwrap())
}

/// Fails unless a request was refused with this status and code.
async fn refused(response: Response, status: StatusCode, code: &str) -> Value {
    let (found, _, body) = read(response).await;
    assert_eq!(found, status, "{body}");
    assert!(body.get("data").is_none(), "{body}");
    assert_eq!(body["errors"][0]["extensions"]["code"], code, "{body}");
    body
}

#[tokio::test]
async fn a_query_is_answered_in_the_type_that_was_asked_for() {
    let url = endpoint().await;
    for (accept, expected) in [(NEW, NEW), (OLD, OLD), ("*/*", OLD), ("", OLD)] {
        let answer = post(&url, accept, &json!({"query": "{ hello }"})).await;
        let (status, media, body) = read(answer).await;
        assert_eq!((status, media.as_str()), (StatusCode::OK, expected));
        assert_eq!(body, json!({"data": {"hello": "hello world"}}));
    }
    let response = post(&url, "text/html", &json!({"query": "{ hello }"})).await;
    assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn a_request_that_cannot_be_executed_has_no_data_and_says_bad_request() {
    let url = endpoint().await;
    for query in [
        "{",
        "{ nothing }",
        "query ($id: Int!) { hello }",
        "subscription { silence }",
    ] {
        let request = json!({"query": query, "variables": {"id": null}});
        for (accept, status) in [(NEW, StatusCode::BAD_REQUEST), (OLD, StatusCode::OK)] {
            let answer = post(&url, accept, &request).await;
            refused(answer, status, "BAD_REQUEST").await;
        }
    }
}

#[tokio::test]
async fn an_error_of_a_field_is_a_result() {
    let url = endpoint().await;
    let (status, _, body) = read(post(&url, NEW, &json!({"query": "{ broken }"})).await).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"], Value::Null);
    assert_eq!(body["errors"][0]["extensions"]["code"], "INTERNAL");
}

#[tokio::test]
async fn malformed_bodies_are_refused_in_words() {
    let url = endpoint().await;
    for (body, message) in [
        ("", "empty"),
        (r#"{ "not json"#, "not a JSON object"),
        ("{}", r#"has no "query""#),
        (r#"{"query": null}"#, r#"has no "query""#),
        (r#"{"query": 1}"#, "expected a string"),
        (r#"{"query": "", "variables": "{}"}"#, "not a JSON object"),
        (r#"{"query": "", "operationName": 1}"#, "not a JSON object"),
        (r#"{"query": "", "extensions": []}"#, "not a JSON object"),
        (r#"{"query": "", "query": ""}"#, "duplicate field"),
        (r#"[{"query": ""}]"#, "batches are not supported"),
        (r#" ["{ hello }"]"#, "batches are not supported"),
    ] {
        let request = client().post(&url).header("content-type", OLD).body(body);
        let answer = request.send().await.unwrap();
        let answer = refused(answer, StatusCode::BAD_REQUEST, "BAD_REQUEST").await;
        let said = answer["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains(message), "{said}");
    }
    let invalid_utf8 = b"{\"query\": \"\xff\"}".to_vec();
    let request = client().post(&url).header("content-type", OLD);
    let answer = request.body(invalid_utf8).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn only_json_in_utf8_is_read() {
    let url = endpoint().await;
    let send = |media: &'static str| {
        let request = client().post(&url).header("content-type", media);
        request.body("{\"query\": \"{ hello }\"}").send()
    };
    for media in [
        "application/json",
        "application/json; charset=UTF-8",
        "Application/JSON;charset=\"utf-8\"",
    ] {
        let status = send(media).await.unwrap().status();
        assert_eq!(status, StatusCode::OK, "{media}");
    }
    for media in [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "text/plain; application/json",
        "application/json; charset=utf-16",
        "application/graphql",
    ] {
        let status = send(media).await.unwrap().status();
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media}");
    }
    let compressed = client().post(&url).header("content-type", OLD);
    let compressed = compressed.header("content-encoding", "gzip").body("{}");
    let answer = compressed.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.headers()["accept-encoding"], "identity");
}

#[tokio::test]
async fn what_a_form_can_send_is_read_only_where_the_browser_has_asked_first() {
    let url = endpoint().await;
    let json = "{\"query\": \"mutation { increment(by: 1) }\"}";
    let form = "query=mutation+%7B+increment(by%3A+1)+%7D&variables=%7B%7D";
    for (media, body) in [
        (None, json),
        (Some("text/plain;charset=UTF-8"), json),
        (Some("application/x-www-form-urlencoded"), form),
    ] {
        let send = |forcing: Option<&'static str>| {
            let mut request = client().post(&url).body(body);
            if let Some(media) = media {
                request = request.header("content-type", media);
            }
            if let Some(name) = forcing {
                request = request.header(name, "1");
            }
            request.send()
        };
        let (status, _, answer) = read(send(None).await.unwrap()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media:?}");
        let said = answer["errors"][0]["message"].as_str().unwrap();
        assert!(said.contains("GraphQL-Require-Preflight"), "{said}");
        for name in [
            "GraphQL-Require-Preflight",
            "Apollo-Require-Preflight",
            "x-apollo-operation-name",
        ] {
            let (status, _, answer) = read(send(Some(name)).await.unwrap()).await;
            let expected = json!({"data": {"increment": 2}});
            assert_eq!((status, answer), (StatusCode::OK, expected), "{name}");
        }
    }
    // Files are nothing that this schema takes.
    let parts = client().post(&url).header("graphql-require-preflight", "1");
    let parts = parts.header("content-type", "multipart/form-data; boundary=x");
    let answer = parts.body("--x--").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn get_runs_queries_and_nothing_else() {
    let url = endpoint().await;
    let get = |parameters: &[(&str, &str)]| {
        let request = client().get(&url).query(parameters);
        request.header("accept", NEW).send()
    };
    let query = "query A($n: String!) { hello(name: $n) } mutation B { increment(by: 1) }";
    let parameters = [
        ("query", query),
        ("operationName", "A"),
        ("variables", "{\"n\":\"wharf\"}"),
    ];
    let (status, _, body) = read(get(&parameters).await.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"]["hello"], "hello wharf");

    for parameters in [
        &[("query", query), ("operationName", "B")][..],
        &[("query", "mutation { increment(by: 1) }")],
        &[("query", "subscription { silence }")],
    ] {
        let response = get(parameters).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "POST");
    }
    for parameters in [
        &[("query", "")][..],
        &[("query", "{")],
        &[("query", "{ hello }"), ("variables", "[]")],
        &[("query", "{ hello }"), ("operationName", "Other")],
        &[("query", "{ hello }"), ("extensions", "[]")],
        &[("query", "query A { hello } query B { hello }")],
        &[("operationName", "A")],
    ] {
        let status = get(parameters).await.unwrap().status();
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn which_of_several_operations_is_meant_is_never_guessed() {
    let url = endpoint().await;
    let document = "query A { hello } mutation B { increment(by: 1) }";
    for _ in 0..50 {
        let request = client().get(&url).query(&[("query", document)]);
        let answer = request.header("accept", NEW).send().await.unwrap();
        refused(answer, StatusCode::BAD_REQUEST, "BAD_REQUEST").await;
    }
    for (name, status) in [
        ("A", StatusCode::OK),
        ("B", StatusCode::METHOD_NOT_ALLOWED),
        ("C", StatusCode::BAD_REQUEST),
    ] {
        let parameters = [("query", document), ("operationName", name)];
        let request = client().get(&url).query(&parameters).header("accept", NEW);
        assert_eq!(request.send().await.unwrap().status(), status, "{name}");
    }
}

/// As `curl --http2` and Java's client send it without TLS.
#[tokio::test]
async fn an_offer_of_another_protocol_is_passed_over() {
    let url = endpoint().await;
    let get = |upgrade: &str| {
        let request = client().get(&url).query(&[("query", "{ hello }")]);
        request
            .header("connection", "Upgrade, HTTP2-Settings")
            .header("upgrade", upgrade)
            .header("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA")
    };
    let (status, _, body) = read(get("h2c").send().await.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body, json!({"data": {"hello": "hello world"}}));
    // Half a handshake of the one that is spoken here.
    let status = get("WebSocket").send().await.unwrap().status();
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let url = endpoint().await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let response = client().request(method, &url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "GET, HEAD, POST");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_read() {
    let toy = Toy::default();
    let address = serve(&toy, settings()).await;
    let url = format!("http://{address}/graphql");
    let long = json!({"query": "{ hello }", "extensions": {"pad": "x".repeat(8192)}}).to_string();
    let request = || client().post(&url).header("content-type", OLD);
    let announced = request().body(long.clone()).send().await.unwrap();
    assert_eq!(announced.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // Nothing of it has to come, and nobody is looked up for it.
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\ncontent-type: {OLD}\r\ncontent-length: 1000000000\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read_some = timeout(DEADLINE, socket.read(&mut answer)).await;
    let some = read_some.expect("at once").unwrap();
    let status = String::from_utf8_lossy(&answer[..some]);
    assert!(status.starts_with("HTTP/1.1 413 "), "{status}");
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(long)]);
    let chunked = request().body(reqwest::Body::wrap_stream(pieces));
    let chunked = chunked.send().await.unwrap();
    refused(chunked, StatusCode::PAYLOAD_TOO_LARGE, "LIMIT_EXCEEDED").await;
    assert_eq!(toy.looked_up.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_gate_decides_before_anything_runs() {
    let url = endpoint().await;
    let send = |token: &'static str| {
        let request = client().post(&url).bearer_auth(token);
        request.json(&json!({"query": "{ caller }"})).send()
    };
    let (status, _, body) = read(send("user-ada").await.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"]["caller"], "user-ada");

    let stale = send("stale").await.unwrap();
    assert_eq!(stale.headers()["www-authenticate"], "Bearer");
    refused(stale, StatusCode::UNAUTHORIZED, "UNAUTHENTICATED").await;

    let busy = send("busy").await.unwrap();
    assert_eq!(busy.headers()["retry-after"], "2");
    refused(busy, StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED").await;
}

#[tokio::test]
async fn what_is_refused_for_its_document_is_refused_before_anybody_is_looked_up() {
    let toy = Toy::default();
    let settings = TransportSettings {
        max_tokens: 20,
        max_batch: 1,
        ..settings()
    };
    let url = serve_at(&toy, settings).await;
    let looked_up = || toy.looked_up.load(Ordering::SeqCst);
    let too_long = format!("{{ {} }}", "hello ".repeat(30));
    for (document, code) in [
        ("{ tooMuch }", "LIMIT_EXCEEDED"),
        (&too_long, "LIMIT_EXCEEDED"),
        ("{", "BAD_REQUEST"),
    ] {
        let one = json!({"query": document});
        for (accept, body) in [
            (NEW, &one),
            (OLD, &one),
            ("text/event-stream", &one),
            (OLD, &json!([one])),
        ] {
            let request = client().post(&url).header("accept", accept).json(body);
            let request = request.bearer_auth("user-ada");
            let answer = request.send().await.unwrap();
            // The newer type has a status for it; in the others the request is well-formed.
            let expected = match accept {
                NEW => StatusCode::BAD_REQUEST,
                _ => StatusCode::OK,
            };
            assert_eq!(answer.status(), expected, "{accept}: {document:.40}");
            let answer = answer.text().await.unwrap();
            assert!(answer.contains(code), "{accept}: {answer}");
        }
        assert_eq!(looked_up(), 0, "{document:.40}");
    }
    let answered = post(&url, NEW, &json!({"query": "{ hello }"})).await;
    assert_eq!((answered.status(), looked_up()), (StatusCode::OK, 1));
}

#[tokio::test]
async fn the_playground_comes_from_the_binary_alone() {
    let address = serve(&Toy::default(), settings()).await;
    let get = |path: &str| client().get(format!("http://{address}{path}"));
    let page = get("/playground").send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    for directive in [
        "default-src 'none'",
        "script-src 'self';",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(directive), "{policy}");
    }
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(page.headers()["referrer-policy"], "no-referrer");
    let text = page.text().await.unwrap();
    for part in ["http:", "https:", "src=\"//", "<script>"] {
        assert!(!text.contains(part), "{text}");
    }
    let script = get("/playground/playground.js").send().await.unwrap();
    let script = script.text().await.unwrap();
    for part in ["http://", "https://", "src=\"//"] {
        assert!(!script.contains(part), "{script}");
    }

    let named = text.split(['"', '\'']);
    let assets = named.filter(|part| part.starts_with("/playground/"));
    let assets: Vec<_> = assets.collect();
    assert_eq!(assets.len(), 7, "{assets:?}");
    for asset in assets {
        let response = get(asset).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{asset}");
        let tag = response.headers()["etag"].to_str().unwrap().to_owned();
        let again = get(asset).header("if-none-match", tag);
        let again = again.send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{asset}");
    }
    let missing = get("/playground/../secret").send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    let graphiql = get("/playground/graphiql.min.js").send().await.unwrap();
    assert_eq!(graphiql.headers()["content-encoding"], "gzip");
}

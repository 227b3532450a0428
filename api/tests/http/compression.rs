//! Compression and entity tags.

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use axum::http::HeaderValue;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpListener;
use wharfinger::http::tagged;

use crate::http_toy::{Toy, serve_at, settings};
use crate::post_get::client;

async fn expanded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut reader: Box<dyn AsyncRead + Send + Unpin + '_> = match coding {
        "br" => Box::new(BrotliDecoder::new(body)),
        "zstd" => Box::new(ZstdDecoder::new(body)),
        "gzip" => Box::new(GzipDecoder::new(body)),
        other => panic!("nobody asked for {other}"),
    };
    let mut whole = Vec::new();
    reader.read_to_end(&mut whole).await.unwrap();
    whole
}

fn varies_by_coding(answer: &Response) -> bool {
    let vary = answer.headers().get_all("vary").iter();
    let mut names = vary
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase());
    names.any(|name| name == "accept-encoding")
}

#[tokio::test]
async fn an_answer_that_is_long_enough_is_compressed_as_the_client_likes() {
    let url = serve_at(&Toy::default(), settings()).await;
    let ask = |name: &str, coding: &str| {
        let query = json!({"query": format!("{{ hello(name: \"{name}\") }}")});
        let request = client().post(&url).header("accept-encoding", coding);
        request.json(&query).send()
    };
    let long = "wharf".repeat(400);
    for coding in ["br", "zstd", "gzip"] {
        let answer = ask(&long, coding).await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], coding);
        assert!(varies_by_coding(&answer));
        let body = answer.bytes().await.unwrap();
        assert!(body.len() < 500, "{coding}: {} bytes", body.len());
        let whole: Value = serde_json::from_slice(&expanded(coding, &body).await).unwrap();
        assert_eq!(whole["data"]["hello"], format!("hello {long}"));
    }
    for (name, coding) in [
        ("wharf", "br, zstd, gzip"),
        (&long, "identity"),
        (&long, "compress"),
    ] {
        let answer = ask(name, coding).await.unwrap();
        let encoding = answer.headers().get("content-encoding");
        assert_eq!(encoding, None, "{coding}");
        answer.json::<Value>().await.unwrap();
    }
}

#[tokio::test]
async fn events_leave_as_they_are() {
    let url = serve_at(&Toy::default(), settings()).await;
    let request = client()
        .post(url)
        .header("accept-encoding", "br, zstd, gzip")
        .header("accept", "text/event-stream")
        .json(&json!({"query": "subscription { count(to: 2) }"}));
    let answer = request.send().await.unwrap();
    assert!(!answer.headers().contains_key("content-encoding"));
    let events = answer.text().await.unwrap();
    assert!(events.contains("data: {\"data\":{\"count\":1}}"));
}

#[tokio::test]
async fn who_has_a_text_is_not_sent_it_again() {
    let text = "type Query { a: Int }\n".repeat(100);
    let media = "application/graphql; charset=utf-8";
    let routes = tagged("/schema", media, text.clone(), 1024);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/schema", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let get = |coding: &str, known: Option<&HeaderValue>| {
        let mut request = client().get(&url).header("accept-encoding", coding);
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        request.send()
    };
    let mut tags = Vec::new();
    for coding in ["identity", "br", "zstd", "gzip"] {
        let answer = get(coding, None).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(varies_by_coding(&answer));
        let tag = answer.headers()["etag"].clone();
        let written = tag.to_str().unwrap().to_owned();
        let quoted = written.starts_with('"') && written.ends_with('"');
        assert!(quoted, "{written}");
        let body = answer.bytes().await.unwrap();
        let body = match coding {
            "identity" => body.to_vec(),
            coding => expanded(coding, &body).await,
        };
        assert_eq!(body, text.as_bytes());

        let again = get(coding, Some(&tag)).await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()["etag"], tag);
        assert!(!again.headers().contains_key("content-encoding"));
        assert_eq!(again.bytes().await.unwrap().len(), 0);
        tags.push(written);
    }
    tags.dedup();
    assert_eq!(tags.len(), 4, "other bytes have another tag: {tags:?}");

    let weak = format!("\"other\", W/{}", tags[0]).parse().unwrap();
    for (known, status) in [
        (weak, StatusCode::NOT_MODIFIED),
        (HeaderValue::from_static("*"), StatusCode::NOT_MODIFIED),
        (HeaderValue::from_static("\"other\""), StatusCode::OK),
        (HeaderValue::from_static("nonsense"), StatusCode::OK),
    ] {
        let answer = get("identity", Some(&known)).await.unwrap();
        assert_eq!(answer.status(), status, "{known:?}");
    }
    let post = client().post(&url).send().await.unwrap();
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
}

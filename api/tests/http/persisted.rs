//! Documents that are named by their SHA-256, as Apollo's clients do it, and the list of trusted ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wharfinger::http::{TransportSettings, TrustedDocuments};

use crate::events::Events;
use crate::http_toy::{Toy, serve, serve_at, settings};
use crate::node::Script;
use crate::post_get::client;
use crate::websocket::Client;

const QUERY: &str = "query($n: String!) { hello(name: $n) }";
const NEW: &str = "application/graphql-response+json";

async fn server(change: impl FnOnce(&mut TransportSettings)) -> String {
    let mut settings = settings();
    change(&mut settings);
    serve_at(&Toy::default(), settings).await
}

fn hash(document: &str) -> String {
    hex::encode(Sha256::digest(document))
}

fn extension(document: &str) -> Value {
    json!({"persistedQuery": {"version": 1, "sha256Hash": hash(document)}})
}

async fn post(url: &str, accept: &str, body: &Value) -> (StatusCode, Value) {
    let request = client().post(url).header("accept", accept).json(body);
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

async fn get(url: &str, parameters: &[(&str, &str)]) -> (StatusCode, Value) {
    let answer = client().get(url).query(parameters).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn error(answer: &Value) -> (&str, &str) {
    assert!(answer.get("data").is_none(), "{answer}");
    let error = &answer["errors"][0];
    let code = error["extensions"]["code"].as_str().unwrap();
    (error["message"].as_str().unwrap(), code)
}

#[tokio::test]
async fn a_document_is_sent_once_and_named_from_then_on() {
    let url = server(|_| {}).await;
    let unknown = ("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND");
    let variables = json!({"n": "wharf"});
    let named = json!({"extensions": extension(QUERY), "variables": variables});
    let (status, answer) = post(&url, "application/json", &named).await;
    assert_eq!((status, error(&answer)), (StatusCode::OK, unknown));
    let (status, answer) = post(&url, NEW, &named).await;
    assert_eq!((status, error(&answer)), (StatusCode::BAD_REQUEST, unknown));

    let extensions = extension(QUERY).to_string();
    let by_get = [
        ("extensions", extensions.as_str()),
        ("variables", "{\"n\":\"wharf\"}"),
    ];
    let (status, answer) = get(&url, &by_get).await;
    assert_eq!((status, error(&answer)), (StatusCode::OK, unknown));

    let mut whole = named.clone();
    whole["query"] = QUERY.into();
    let data = json!({"data": {"hello": "hello wharf"}});
    let answered = (StatusCode::OK, data);
    assert_eq!(post(&url, NEW, &whole).await, answered);
    assert_eq!(post(&url, NEW, &named).await, answered);
    assert_eq!(get(&url, &by_get).await, answered);
}

#[tokio::test]
async fn a_hash_that_is_not_of_its_document_is_refused_and_keeps_nothing() {
    let url = server(|_| {}).await;
    let other = json!({"query": "{ caller }", "extensions": extension(QUERY)});
    let (status, answer) = post(&url, "application/json", &other).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let expected = ("provided sha does not match query", "BAD_REQUEST");
    assert_eq!(error(&answer), expected);
    let named = json!({"extensions": extension(QUERY)});
    let (_, answer) = post(&url, NEW, &named).await;
    assert_eq!(error(&answer).1, "PERSISTED_QUERY_NOT_FOUND");

    for persisted in [
        json!({"version": 2, "sha256Hash": hash(QUERY)}),
        json!({"version": 1, "sha256Hash": "abc"}),
        json!({"sha256Hash": hash(QUERY)}),
        json!("nonsense"),
        json!([1, hash(QUERY)]),
    ] {
        let request = json!({"query": QUERY, "extensions": {"persistedQuery": persisted}});
        let (status, answer) = post(&url, NEW, &request).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(error(&answer).1, "BAD_REQUEST");
    }
    let nothing = json!({"query": "{ hello }", "extensions": {"persistedQuery": null}});
    assert_eq!(post(&url, NEW, &nothing).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_kept_has_a_bound() {
    let url = server(|settings| settings.persisted_entries = 2).await;
    let documents = ["{ a: hello }", "{ b: hello }", "{ c: hello }"];
    for document in documents {
        let whole = json!({"query": document, "extensions": extension(document)});
        post(&url, NEW, &whole).await;
    }
    let mut known = Vec::new();
    for document in documents {
        let named = json!({"extensions": extension(document)});
        known.push(post(&url, NEW, &named).await.0 == StatusCode::OK);
    }
    assert_eq!(known, [false, true, true]);
}

/// Whether a document that is sent with its hash, and answered or not, is known by it afterwards.
async fn is_kept(url: &str, document: &str) -> bool {
    let whole = json!({"query": document, "extensions": extension(document)});
    post(url, NEW, &whole).await;
    let named = json!({"extensions": extension(document)});
    let (_, answer) = post(url, NEW, &named).await;
    answer["errors"][0]["extensions"]["code"] != "PERSISTED_QUERY_NOT_FOUND"
}

#[tokio::test]
async fn only_what_was_parsed_is_within_the_limits_and_reads_is_kept() {
    let url = server(|settings| {
        settings.max_tokens = 50;
        settings.max_body = 1 << 20;
        settings.max_batch = 2;
    })
    .await;
    let long = |length| format!("{{ hello }} #{}", "x".repeat(length));
    for (document, kept) in [
        ("{ hello }", true),
        ("{ hello ", false),
        ("nonsense", false),
        ("mutation { increment(by: 1) }", false),
        ("query A { hello } mutation B { increment(by: 1) }", false),
        (&"{ hello }".replace("hello", &"hello ".repeat(60)), false),
        (&long(16 << 10), false),
        (&long(15 << 10), true),
        ("subscription { count(to: 1) }", true),
    ] {
        assert_eq!(is_kept(&url, document).await, kept, "{document:.60}");
    }
    // The same in a batch.
    for (document, kept) in [
        ("{ b: hello }", true),
        ("{ b: hello", false),
        ("mutation { b: increment(by: 1) }", false),
    ] {
        let whole = json!([{"query": document, "extensions": extension(document)}]);
        post(&url, "application/json", &whole).await;
        let named = json!([{"extensions": extension(document)}]);
        let (_, answer) = post(&url, "application/json", &named).await;
        let code = &answer[0]["errors"][0]["extensions"]["code"];
        assert_eq!(code != "PERSISTED_QUERY_NOT_FOUND", kept, "{document}");
    }
}

#[tokio::test]
async fn a_mutation_is_answered_with_its_hash_and_without_being_kept() {
    let url = server(|_| {}).await;
    let mutation = "mutation { increment(by: 1) }";
    let whole = json!({"query": mutation, "extensions": extension(mutation)});
    for _ in 0..2 {
        let answered = (StatusCode::OK, json!({"data": {"increment": 2}}));
        assert_eq!(post(&url, NEW, &whole).await, answered);
        let named = json!({"extensions": extension(mutation)});
        let (_, answer) = post(&url, NEW, &named).await;
        assert_eq!(error(&answer).1, "PERSISTED_QUERY_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_named_mutation_cannot_be_sent_with_get_either() {
    let mutation = "mutation { increment(by: 1) }";
    let url = server(|settings| trust(settings, &[mutation])).await;
    let named = json!({"extensions": extension(mutation)});
    assert_eq!(post(&url, NEW, &named).await.0, StatusCode::OK);
    let extensions = extension(mutation).to_string();
    let (status, _) = get(&url, &[("extensions", &extensions)]).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn where_nothing_is_kept_clients_are_told_not_to_try() {
    let url = server(|settings| settings.persisted_entries = 0).await;
    let code = "PERSISTED_QUERY_NOT_SUPPORTED";
    let expected = ("PersistedQueryNotSupported", code);
    for request in [
        json!({"extensions": extension("{ hello }")}),
        json!({"query": "{ hello }", "extensions": extension("{ hello }")}),
    ] {
        let (status, answer) = post(&url, "application/json", &request).await;
        assert_eq!((status, error(&answer)), (StatusCode::OK, expected));
    }
    let plain = json!({"query": "{ hello }"});
    assert_eq!(post(&url, NEW, &plain).await.0, StatusCode::OK);
}

fn trust(settings: &mut TransportSettings, documents: &[&str]) {
    let manifest = documents.iter().map(|document| (hash(document), *document));
    let manifest = json!(manifest.collect::<BTreeMap<_, _>>()).to_string();
    let trusted = TrustedDocuments::parse(&manifest).unwrap();
    settings.trusted = Some(Arc::new(trusted));
}

fn trusting(settings: &mut TransportSettings) {
    trust(settings, &["{ hello }", "subscription { count(to: 1) }"]);
}

#[tokio::test]
async fn where_there_is_a_list_of_trusted_documents_nothing_else_is_executed() {
    let url = server(trusting).await;
    for request in [
        json!({"query": "{ hello }"}),
        json!({"extensions": extension("{ hello }")}),
        json!({"query": "{ hello }", "extensions": extension("{ hello }")}),
    ] {
        let data = json!({"data": {"hello": "hello world"}});
        assert_eq!(post(&url, NEW, &request).await, (StatusCode::OK, data));
    }
    for request in [
        json!({"query": "{ caller }"}),
        json!({"query": "{ caller }", "extensions": extension("{ caller }")}),
        // The same to a reader, and not the text that somebody has looked at.
        json!({"query": "{ hello  }"}),
        json!({"query": "{ __schema { types { name } } }"}),
    ] {
        for accept in [NEW, "application/json", "text/event-stream"] {
            let (status, answer) = post(&url, accept, &request).await;
            assert_eq!(status, StatusCode::FORBIDDEN);
            assert_eq!(error(&answer).1, "FORBIDDEN");
        }
    }
    let named = json!({"extensions": extension("{ caller }")});
    let (_, answer) = post(&url, NEW, &named).await;
    assert_eq!(error(&answer).1, "PERSISTED_QUERY_NOT_FOUND");
}

#[tokio::test]
async fn a_named_subscription_is_streamed() {
    let url = server(trusting).await;
    let named = json!({"extensions": extension("subscription { count(to: 1) }")});
    let request = client().post(&url).header("accept", "text/event-stream");
    let mut events = Events::of(request.json(&named).send().await.unwrap());
    assert_eq!(events.result().await, json!({"data": {"count": 0}}));
    events.completes().await;
}

#[tokio::test]
async fn a_socket_is_no_way_round_the_list_and_knows_names_too() {
    let mut settings = settings();
    trusting(&mut settings);
    let mut socket = Client::ready(serve(&Toy::default(), settings).await).await;
    socket.subscribe("1", "{ caller }").await;
    let named = json!({"extensions": extension("subscription { count(to: 1) }")});
    let subscribe = json!({"type": "subscribe", "id": "2", "payload": named});
    socket.say(subscribe).await;
    assert_eq!(socket.refused("1").await, "FORBIDDEN");
    let next = json!({"type": "next", "id": "2", "payload": {"data": {"count": 0}}});
    assert_eq!(socket.hear().await, next);
    assert_eq!(socket.hear().await["type"], "complete");
}

#[tokio::test]
async fn apollo_client_sends_a_document_once() {
    let url = server(|_| {}).await;
    for how in ["POST", "GET"] {
        let said = Script::start("apollo.mjs", &[&url, how]).succeed().await;
        let requests = said.iter().map(|line| serde_json::from_str(line).unwrap());
        let requests: Vec<Value> = requests.collect();
        let with_document: Vec<_> = requests.iter().map(|sent| &sent["document"]).collect();
        // Refused once, sent with the document, and by name alone from then on.
        assert_eq!(with_document, [false, true, false], "{requests:?}");
        assert_eq!(requests[2]["method"], how);
        assert_eq!(requests[2]["data"], json!({"hello": "hello wharf"}));
    }
}

#[tokio::test]
async fn apollo_client_gives_up_names_where_they_are_not_supported() {
    let url = server(|settings| settings.persisted_entries = 0).await;
    let requests = Script::start("apollo.mjs", &[&url, "POST"]).succeed().await;
    let last: Value = serde_json::from_str(requests.last().unwrap()).unwrap();
    assert_eq!(last["document"], true);
    assert_eq!(last["named"], false);
    assert_eq!(last["data"], json!({"hello": "hello wharf"}));
}

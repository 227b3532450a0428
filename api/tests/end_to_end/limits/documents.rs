//! Documents that ask for too much: refused on every way in, without a statement.

use std::fmt::Write as _;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::graphql::Client;
use crate::support::servers::Server;
use crate::support::socket::Subscription;
use crate::support::world::World;

/// About as long as a body may be.
const MEGABYTE: usize = 1_000_000;

/// Documents with a name that is nearly one of the schema's: of an argument, of a directive's argument, of an enum's value,
/// of a type, of an input's field, of a directive.
const MISSPELT: [&str; 6] = [
    "{ jobs(firs: 1) { totalCount } }",
    "{ viewer @deprecated(reasn: \"\") { id } }",
    "{ jobs(filter: {states: [QUEUE]}) { totalCount } }",
    "{ ... on Quer { __typename } }",
    "mutation { pullImage(input: {referenc: \"a\", reference: \"a\"}) { job { id } } }",
    "{ viewer @skp(if: false) { id } }",
];

/// Documents that are far over a limit, with what the refusal must name.
fn too_much() -> Vec<(String, &'static str)> {
    let aliases = |count| {
        (0..count).fold(String::new(), |mut text, number| {
            let _ = write!(text, "a{number}:__typename ");
            text
        })
    };
    let mut bomb = "{ ...F0 }".to_owned();
    for number in 0..25 {
        let next = number + 1;
        let _ = write!(
            bomb,
            "fragment F{number} on Query {{ ...F{next} ...F{next} ...F{next} }}"
        );
    }
    bomb += "fragment F25 on Query { __typename }";
    let users = "{ users(first: 100) { nodes { jobs(first: 100) { nodes { id } } } } }";
    let fields = "__typename ".repeat(500);
    let directives = "@skip(if: false) ".repeat(40);
    let (down, up) = ("node(id: 1) { ".repeat(20), "}".repeat(21));
    vec![
        ("{".repeat(MEGABYTE), "64 brackets"),
        ("{a".repeat(MEGABYTE / 2), "64 brackets"),
        (format!("{{ a(b: {}", "[".repeat(MEGABYTE)), "64 brackets"),
        (format!("query($a: {}", "[".repeat(MEGABYTE)), "64 brackets"),
        (format!("{{ {} }}", aliases(50_000)), "limits.tokens"),
        (format!("{{ {} }}", aliases(100)), "limits.aliases"),
        (format!("{{ {fields} }}"), "limits.fields"),
        (bomb, "limits.fields"),
        (
            format!("{{ __typename {directives} }}"),
            "limits.directives",
        ),
        (format!("{{ {down} __typename {up}"), "limits.depth"),
        (users.to_owned(), "limits.complexity"),
    ]
}

/// The code and message of an answer's only error.
fn error(answer: &Value) -> (&str, &str) {
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!((errors.len(), answer.get("data")), (1, None), "{answer}");
    let error = &errors[0];
    let code = error["extensions"]["code"].as_str().unwrap();
    (code, error["message"].as_str().unwrap())
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_without_a_statement() {
    let mut world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &["--admin"]);
    let proxy = world.behind_proxy().await;
    let gateway = world.gateway().await;
    let (nobody, ada) = (gateway.anonymous(), gateway.client(&token));
    ada.ask("{ viewer { id } }", json!({})).await;
    for (document, named) in too_much() {
        // Nor is it looked up who sends it.
        for client in [&nobody, &ada] {
            let send = async || {
                let (status, answer) = client.send(&document, json!({})).await;
                let (code, message) = error(&answer);
                assert_eq!(code, "LIMIT_EXCEEDED", "{message}");
                assert_eq!(status, StatusCode::BAD_REQUEST, "{message}");
                assert!(message.contains(named), "{message}, and not {named}");
            };
            assert_eq!(proxy.fewest(send).await, 0, "{named}");
        }
        // The same on the other ways in.
        if document.len() < 4000 {
            let answer = nobody.query_by_get(&document).await;
            assert_eq!(error(&answer).0, "LIMIT_EXCEEDED", "{named}");
        }
        let mut socket = Subscription::enter(&ada).await.unwrap();
        let refusal = socket.operation("1", &document).await;
        assert_eq!(refusal["type"], "error", "{refusal}");
        let refusal = json!({"errors": refusal["payload"]});
        let (code, message) = error(&refusal);
        assert_eq!(code, "LIMIT_EXCEEDED", "{message}");
        assert!(message.contains(named), "{message}, and not {named}");
    }
    // Whoever is refused has not taken anything down.
    ada.ask("{ viewer { id } }", json!({})).await;
}

#[tokio::test]
async fn deep_variables_are_refused_and_take_nothing_down() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let query = r#""query": "query($a: [ID!]!) { nodes(ids: $a) { id } }""#;
    for levels in [100, 100_000, MEGABYTE / 2 - 100] {
        let variables = format!("{{\"a\": {}}}", deep(levels));
        let body = format!("{{{query}, \"variables\": {variables}}}");
        let (status, answer) = client.send_text(body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{levels}");
        assert_eq!(error(&answer).0, "BAD_REQUEST", "{levels}");
    }
    client.ask("{ viewer { id } }", json!({})).await;
}

#[tokio::test]
async fn only_who_is_signed_in_gets_introspection_and_suggestions_and_a_setting_takes_them_away() {
    let mut world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &[]);
    let proxy = world.behind_proxy().await;
    let schema = "{ __schema { queryType { name } } }";
    for (setting, for_users) in [("true", true), ("false", false)] {
        world.set("WHARFINGER_LIMITS__INTROSPECTION", setting);
        let gateway = world.gateway().await;
        let (nobody, ada) = (gateway.anonymous(), gateway.client(&token));

        let is_refused = async |client: &Client, refusal: (StatusCode, &str)| {
            let ask = async || {
                let (status, answer) = client.send(schema, json!({})).await;
                assert_eq!((status, error(&answer).0), refusal);
            };
            assert_eq!(proxy.fewest(ask).await, 0, "{setting}");
        };
        if for_users {
            is_refused(&nobody, (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED")).await;
            let told = ada.ask(schema, json!({})).await;
            assert_eq!(told["__schema"]["queryType"]["name"], "Query");
        } else {
            is_refused(&nobody, (StatusCode::FORBIDDEN, "FORBIDDEN")).await;
            is_refused(&ada, (StatusCode::FORBIDDEN, "FORBIDDEN")).await;
        }
        for (client, open) in [(&nobody, false), (&ada, for_users)] {
            for misspelt in MISSPELT {
                let (_, answer) = client.send(misspelt, json!({})).await;
                assert!(answer["errors"].is_array(), "{answer}");
                let suggests = answer.to_string().contains("Did you mean");
                assert!(open || !suggests, "{answer}");
            }
            let (_, answer) = client.send("{ viewe { id } }", json!({})).await;
            assert_eq!(error(&answer).0, "BAD_REQUEST");
            for suggested in ["Did you mean", "viewer"] {
                let suggests = answer.to_string().contains(suggested);
                assert_eq!(suggests, open, "{answer}");
            }
        }
        let status = nobody.get("/schema.graphql").await.status();
        assert_eq!(status.is_success(), for_users);
        let named = "{ a: __typename }";
        assert_eq!(nobody.ask(named, json!({})).await, json!({"a": "Query"}));
    }
}

//! Documents that ask for too much: refused on every way in, without a statement.

use std::fmt::Write as _;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::graphql::Client;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::servers::{Server, engine};
use crate::support::socket::Subscription;
use crate::support::world::World;

/// The statements of other tasks of the gateway fall into some of the measurements, and never into all of them.
const MEASUREMENTS: usize = 8;

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
    vec![
        ("{".repeat(MEGABYTE), "64 brackets"),
        ("{a".repeat(MEGABYTE / 2), "64 brackets"),
        (format!("{{ a(b: {}", "[".repeat(MEGABYTE)), "64 brackets"),
        (format!("query($a: {}", "[".repeat(MEGABYTE)), "64 brackets"),
        (format!("{{ {} }}", aliases(50_000)), "limits.tokens"),
        (format!("{{ {} }}", aliases(100)), "limits.aliases"),
        (
            format!("{{ {} }}", "__typename ".repeat(500)),
            "limits.fields",
        ),
        (bomb, "limits.fields"),
        (
            format!("{{ __typename {} }}", "@skip(if: false) ".repeat(40)),
            "limits.directives",
        ),
        (
            format!(
                "{{ {} __typename {}",
                "node(id: 1) { ".repeat(20),
                "}".repeat(21)
            ),
            "limits.depth",
        ),
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
    let proxy = PostgresProxy::start(&world.database_url()).await;
    world.set("DATABASE_URL", &proxy.url);
    let gateway = world.gateway().await;
    let (nobody, ada) = (
        Client::new(&gateway.address, None),
        World::client(&gateway, &token),
    );
    ada.ask("{ viewer { id } }", json!({})).await;
    for (document, named) in too_much() {
        // Nor is it looked up who sends it.
        for client in [&nobody, &ada] {
            let mut fewest = usize::MAX;
            for _ in 0..MEASUREMENTS {
                let before = proxy.executed();
                let (status, answer) = client.send(&document, json!({})).await;
                fewest = fewest.min(proxy.executed() - before);
                let (code, message) = error(&answer);
                assert_eq!(
                    (status, code),
                    (StatusCode::BAD_REQUEST, "LIMIT_EXCEEDED"),
                    "{message}"
                );
                assert!(message.contains(named), "{message}, and not {named}");
            }
            assert_eq!(fewest, 0, "{named}");
        }
        // The same on the other ways in.
        if document.len() < 4000 {
            let url = format!(
                "/graphql?query={}",
                url::form_urlencoded::byte_serialize(document.as_bytes()).collect::<String>()
            );
            let answer: Value = nobody.get(&url).await.json().await.unwrap();
            assert_eq!(error(&answer).0, "LIMIT_EXCEEDED", "{named}");
        }
        let refusal = Subscription::request_error(&ada, &document).await;
        assert_eq!(refusal["extensions"]["code"], "LIMIT_EXCEEDED", "{refusal}");
        assert!(
            refusal["message"].as_str().unwrap().contains(named),
            "{refusal}"
        );
    }
    // Whoever is refused has not taken anything down.
    ada.ask("{ viewer { id } }", json!({})).await;
}

#[tokio::test]
async fn introspection_is_refused_without_a_statement() {
    let mut world = World::fleet(Server::Postgres).await;
    let token = world.user("ada", &[]);
    let proxy = PostgresProxy::start(&world.database_url()).await;
    world.set("DATABASE_URL", &proxy.url);
    let schema = "{ __schema { queryType { name } } }";
    for (setting, token, code) in [
        ("true", None, "UNAUTHENTICATED"),
        ("false", None, "FORBIDDEN"),
        ("false", Some(token.as_str()), "FORBIDDEN"),
    ] {
        world.set("WHARFINGER_LIMITS__INTROSPECTION", setting);
        let gateway = world.gateway().await;
        let client = Client::new(&gateway.address, token);
        let mut fewest = usize::MAX;
        for _ in 0..MEASUREMENTS {
            let before = proxy.executed();
            let (_, answer) = client.send(schema, json!({})).await;
            fewest = fewest.min(proxy.executed() - before);
            assert_eq!(error(&answer).0, code);
        }
        assert_eq!(fewest, 0, "{setting} {token:?}");
    }
}

#[tokio::test]
async fn deep_variables_are_refused_and_take_nothing_down() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.serve(&engine(1)).await;
    let client = World::client(&gateway, &token);
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let body = |levels| {
        format!(
            "{{\"query\": \"query($a: [ID!]!) {{ nodes(ids: $a) {{ id }} }}\", \"variables\": {{\"a\": {}}}}}",
            deep(levels)
        )
    };
    for levels in [100, 100_000, MEGABYTE / 2 - 100] {
        let (status, answer) = client.send_text(body(levels)).await;
        assert_eq!(
            (status, error(&answer).0),
            (StatusCode::BAD_REQUEST, "BAD_REQUEST"),
            "{levels}"
        );
    }
    client.ask("{ viewer { id } }", json!({})).await;
}

#[tokio::test]
async fn only_who_is_signed_in_gets_introspection_and_suggestions_and_a_setting_takes_them_away() {
    let mut world = World::embedded();
    let token = world.user("ada", &[]);
    let schema = "{ __schema { queryType { name } } }";
    let typo = "{ viewe { id } }";
    for (setting, for_users) in [("true", true), ("false", false)] {
        world.set("WHARFINGER_LIMITS__INTROSPECTION", setting);
        let gateway = world.gateway().await;
        let (nobody, ada) = (
            Client::new(&gateway.address, None),
            World::client(&gateway, &token),
        );

        let (status, refused) = nobody.send(schema, json!({})).await;
        let expected = if for_users {
            (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED")
        } else {
            (StatusCode::FORBIDDEN, "FORBIDDEN")
        };
        assert_eq!((status, error(&refused).0), expected);
        let (_, answer) = nobody.send(typo, json!({})).await;
        assert!(!answer.to_string().contains("Did you mean"), "{answer}");
        assert_eq!(error(&answer).0, "BAD_REQUEST");
        for misspelt in MISSPELT {
            for (client, open) in [(&nobody, false), (&ada, for_users)] {
                let (_, answer) = client.send(misspelt, json!({})).await;
                assert!(answer["errors"].is_array(), "{answer}");
                let suggests = answer.to_string().contains("Did you mean");
                assert!(open || !suggests, "{answer}");
            }
        }

        let (_, answer) = ada.send(schema, json!({})).await;
        if for_users {
            assert_eq!(answer["data"]["__schema"]["queryType"]["name"], "Query");
        } else {
            assert_eq!(error(&answer).0, "FORBIDDEN");
        }
        let (_, answer) = ada.send(typo, json!({})).await;
        assert_eq!(
            answer.to_string().contains("Did you mean"),
            for_users,
            "{answer}"
        );
        let status = nobody.get("/schema.graphql").await.status();
        assert_eq!(status.is_success(), for_users);
        let named = "{ a: __typename }";
        assert_eq!(nobody.ask(named, json!({})).await, json!({"a": "Query"}));
    }
}

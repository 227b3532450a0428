//! Texts that nobody expects, in every argument of the schema, on every database: none is a fault of the server's.

use serde_json::{Value, json};

use super::authorisation::introspect::{QUERY, Schema};
use super::client::Client;
use super::gateway::{Gateway, Store};

/// What is refused in an argument is the caller's to mend.
const CODES: [&str; 5] = [
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "BAD_REQUEST",
    "RATE_LIMITED",
    "LIMIT_EXCEEDED",
];

/// Texts: what databases refuse or read as something else, what is long, what is no ASCII, and what is no id or cursor.
fn texts() -> Vec<String> {
    let odd = [
        "",
        "\0",
        "a\0b",
        "🛳️",
        "\u{fffd}\u{ffff}",
        "\u{202e}",
        "%_!\\'\"--;",
        " ",
        "\r\n",
        "-1",
        "1e400",
        "0x0",
        "job_",
        "9223372036854775808",
    ];
    let mut texts: Vec<String> = odd.iter().map(ToString::to_string).collect();
    texts.push("x".repeat(10_000));
    texts.push("é".repeat(70_000));
    texts
}

/// A text as GraphQL writes it.
fn literal(text: &str) -> String {
    let letters = text.chars().map(|letter| match letter {
        '"' | '\\' => format!("\\{letter}"),
        letter if letter.is_ascii_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.to_string(),
    });
    format!("\"{}\"", letters.collect::<String>())
}

fn is_text(of: &str, _top: bool) -> bool {
    matches!(of, "String" | "ID" | "Credits" | "DateTime" | "ByteSize")
}

async fn checked(client: &Client, document: &str) {
    let (status, answer) = client.send(document, json!({})).await;
    let what = || document.chars().take(500).collect::<String>();
    assert!(!status.is_server_error(), "{status}: {}", what());
    for error in answer["errors"].as_array().into_iter().flatten() {
        let code = error["extensions"]["code"].as_str().unwrap_or("none");
        assert!(CODES.contains(&code), "{error}: {}", what());
    }
}

async fn every_text_in_every_argument(store: Store) {
    let gateway = Gateway::on(store).await;
    let client = gateway.admin("eve").await;
    let told: Value = client.ask(QUERY, json!({})).await;
    let schema = Schema::read(&told);
    for (root, kind) in [("Query", "query"), ("Mutation", "mutation")] {
        for field in schema.fields(root) {
            // It would be the last: the token is its request's.
            if field.name == "signOut" {
                continue;
            }
            let selection = schema.selection(field.named(), 0);
            for text in texts() {
                let value = |_: &str, of: &str| match of {
                    "Boolean" => "true".to_owned(),
                    "Int" => "1".to_owned(),
                    _ => literal(&text),
                };
                for (_, arguments) in schema.ways(root, field, is_text, &value) {
                    let document = format!("{kind} {{ {}{arguments}{selection} }}", field.name);
                    checked(&client, &document).await;
                }
            }
        }
    }
    // An `Int` out of range is found only when its field is resolved.
    checked(&client, "{ jobs(first: 2147483648) { totalCount } }").await;
}

#[tokio::test]
async fn no_text_is_a_fault_of_the_server_on_sqlite() {
    every_text_in_every_argument(Store::Sqlite).await;
}

#[tokio::test]
async fn no_text_is_a_fault_of_the_server_on_postgresql() {
    every_text_in_every_argument(Store::Postgres).await;
}

#[tokio::test]
async fn no_text_is_a_fault_of_the_server_on_mariadb() {
    every_text_in_every_argument(Store::MariaDb).await;
}

//! Walks through the schema: queries, the fields of every type, mutations and subscriptions.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::CALLERS;
use super::ask::{ask, code, follow, word};
use super::introspect::Schema;
use super::place::{MARK, Place};
use super::table::Answers;
use crate::graphql_tests::client::Client;
use crate::graphql_tests::events::Events;
use crate::graphql_tests::waiting::LOOK_AGAIN;

/// A way to the things of a type: a document with `$` where a field of theirs goes, and the keys that lead to them.
#[derive(Clone)]
struct Way {
    document: String,
    keys: Vec<String>,
}

/// Whether an optional argument says whose things are asked for, or more than they: an id, a ban, or a flag beside the field.
fn names_or_widens(of: &str, top: bool) -> bool {
    matches!(of, "ID" | "UserStatus") || (top && of == "Boolean")
}

/// Asks for every field of `Query`.
pub(super) async fn queries(place: &Place, schema: &Schema, found: &mut Answers) {
    for field in schema.fields("Query") {
        let selection = schema.selection(field.named(), 1);
        let value = |coordinate: &str, of: &str| place.ids.value(coordinate, of);
        for (asked, arguments) in schema.ways("Query", field, names_or_widens, &value) {
            let document = format!("{{ {}{arguments}{selection} }}", field.name);
            let keys = [field.name.clone()];
            found.insert(asked, as_everybody(place, &document, &keys).await);
        }
    }
}

/// Asks for every field of every type that a query leads to: of Ada's things where they have ids, and of what they lead to.
pub(super) async fn fields(place: &Place, schema: &Schema, found: &mut Answers) {
    for (of, way) in ways(place, schema) {
        for field in schema.fields(&of) {
            let selection = schema.selection(field.named(), 1);
            let document = way
                .document
                .replace('$', &format!("{}{selection}", field.name));
            let keys = [&way.keys[..], std::slice::from_ref(&field.name)].concat();
            let words = as_everybody(place, &document, &keys).await;
            found.insert(format!("{of}.{}", field.name), words);
        }
    }
}

async fn as_everybody(place: &Place, document: &str, keys: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    for caller in CALLERS {
        let answer = ask(place, caller, &place.client(caller), document).await;
        words.push(code(&answer, usize::MAX).unwrap_or_else(|| {
            let mut values = Vec::new();
            follow(&answer["data"], keys, &mut values);
            word(&values)
        }));
    }
    words
}

/// A way to each type: from Ada's things by their ids, and otherwise from a query that asks for nothing more.
fn ways(place: &Place, schema: &Schema) -> BTreeMap<String, Way> {
    let things = |inner: &str| Way {
        document: format!(
            "{{ nodes(ids: {}) {{ __typename {inner} }} }}",
            place.ids.list()
        ),
        keys: vec!["nodes".to_owned()],
    };
    let mut ways = BTreeMap::from([("Node".to_owned(), things("$"))]);
    let types = schema.0["Node"].possible_types.as_ref().unwrap();
    let mut next: VecDeque<String> = VecDeque::new();
    for of in types {
        let way = things(&format!("... on {} {{ $ }}", of.name));
        ways.insert(of.name.clone(), way);
        next.push_back(of.name.clone());
    }
    spread(schema, &mut ways, next);
    let root = Way {
        document: "{ $ }".to_owned(),
        keys: Vec::new(),
    };
    ways.insert("Query".to_owned(), root);
    spread(schema, &mut ways, VecDeque::from(["Query".to_owned()]));
    ways.remove("Query");
    ways
}

/// Goes on to what is not reached yet, the nearest first.
fn spread(schema: &Schema, ways: &mut BTreeMap<String, Way>, mut next: VecDeque<String>) {
    while let Some(of) = next.pop_front() {
        let way = ways[&of].clone();
        for field in schema.fields(&of) {
            let to = field.named();
            let is_leaf = schema.fields(to).is_empty();
            if is_leaf || !field.needs_nothing() || ways.contains_key(to) {
                continue;
            }
            let mut keys = way.keys.clone();
            keys.push(field.name.clone());
            let inner = format!("{} {{ $ }}", field.name);
            let document = way.document.replace('$', &inner);
            ways.insert(to.to_owned(), Way { document, keys });
            next.push_back(to.to_owned());
        }
    }
}

/// Does every mutation to Ada's things as one caller. What the payloads have in them is told too, and what is in the user
/// errors of any.
pub(super) async fn mutations(
    place: &Place,
    schema: &Schema,
    caller: &str,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for field in schema.fields("Mutation") {
        let selection = schema.selection(field.named(), 1);
        let value = |coordinate: &str, of: &str| place.ids.value(coordinate, of);
        for (asked, arguments) in schema.ways("Mutation", field, names_or_widens, &value) {
            let document = format!("mutation {{ {}{arguments}{selection} }}", field.name);
            let client = for_once(&place.client(caller), caller).await;
            let answer = ask(place, caller, &client, &document).await;
            let payload = &answer["data"][&field.name];
            let refused = code(&answer, 1);
            let problem = payload["userErrors"][0]["code"].as_str();
            let outcome = refused.clone().or(problem.map(str::to_owned));
            found.insert(asked, outcome.unwrap_or_else(|| "done".to_owned()));
            let parts = parts(schema, field.named());
            for (coordinate, keys) in parts {
                let mut values = Vec::new();
                follow(payload, &keys, &mut values);
                let said = refused.clone().unwrap_or_else(|| word(&values));
                let best = found.entry(coordinate).or_insert_with(|| said.clone());
                if rank(&said) > rank(best) {
                    *best = said;
                }
            }
        }
    }
    found
}

/// The fields of a payload, and of the user errors in it, with the keys that lead to each.
fn parts(schema: &Schema, payload: &str) -> Vec<(String, Vec<String>)> {
    let mut parts = Vec::new();
    for field in schema.fields(payload) {
        let keys = vec![field.name.clone()];
        if field.named() == "UserError" {
            for inner in schema.fields("UserError") {
                let keys = [&keys[..], std::slice::from_ref(&inner.name)].concat();
                parts.push((format!("UserError.{}", inner.name), keys));
            }
        }
        parts.push((format!("{payload}.{}", field.name), keys));
    }
    parts
}

fn rank(word: &str) -> usize {
    ["hidden", "null", "value"]
        .iter()
        .position(|known| *known == word)
        .map_or(0, |place| place + 1)
}

/// A client with a token of its own, where the caller can have one: some mutations end the token that they are sent with.
async fn for_once(client: &Client, caller: &str) -> Client {
    if matches!(caller, "nobody" | "banned") {
        return client.clone();
    }
    let make = "mutation { createApiToken(input: {name: \"once\"}) { secret } }";
    let made = client.ask(make, json!({})).await;
    client.with_token(made["createApiToken"]["secret"].as_str())
}

/// Watches everything that can be, while Ada and the watcher ask for images.
pub(super) async fn subscriptions(place: &Place, schema: &Schema, found: &mut Answers) {
    let ada = place.client("owner");
    for field in schema.fields("Subscription") {
        let selection = schema.selection(field.named(), 1);
        let value = |coordinate: &str, of: &str| place.ids.value(coordinate, of);
        for (asked, arguments) in schema.ways("Subscription", field, names_or_widens, &value) {
            let document = format!("subscription {{ {}{arguments}{selection} }}", field.name);
            let mut words = Vec::new();
            for caller in CALLERS {
                words.push(watch(&place.client(caller), &ada, &document, caller).await);
            }
            found.insert(asked, words);
        }
    }
}

async fn watch(client: &Client, ada: &Client, document: &str, caller: &str) -> String {
    let events = client.with_header("accept", "text/event-stream");
    let answer = events.stream(document, json!({})).await;
    if !answer.status().is_success() {
        let answer: Value = answer.json().await.unwrap();
        return code(&answer, usize::MAX).expect("a code");
    }
    let mut events = Events::of(answer);
    loop {
        // Whatever is told of Ada's is told before what is the watcher's own.
        ada.pull(&format!("127.0.0.1:1/{MARK}-noise")).await;
        if client.token.is_some() {
            let own = json!({"reference": "127.0.0.1:1/own"});
            let payload = client.try_pull(own).await;
            assert_eq!(payload["userErrors"], json!([]));
        }
        let Ok(event) = tokio::time::timeout(LOOK_AGAIN, events.next()).await else {
            continue;
        };
        let answer = event.expect("an event").json();
        if let Some(code) = code(&answer, usize::MAX) {
            return code;
        }
        let strangers = super::STRANGERS.contains(&caller);
        let said = answer.to_string();
        assert!(
            !strangers || !said.contains(MARK),
            "{caller}: {document}: {said}"
        );
        return "told".to_owned();
    }
}

/// What strangers could have changed: Ada's things as she sees them, and the fleet as an administrator does.
pub(super) async fn seen(place: &Place) -> [Value; 2] {
    let own = "{ viewer {
        name role status balance { available held total } ledger { totalCount }
        images(first: 100) { nodes { id state visibility } }
        jobs(first: 100) { nodes { id state attempt discardedAt } }
        apiTokens { id name } registryCredentials { id registry username }
    } }";
    let fleet = "{
        auditLog { totalCount } users { totalCount }
        hosts { nodes { name schedulable } } queues { name paused }
    }";
    [
        place.client("owner").ask(own, json!({})).await,
        place.client("administrator").ask(fleet, json!({})).await,
    ]
}

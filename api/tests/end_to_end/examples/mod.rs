//! The examples of `api/examples`, run as they stand against a gateway with a worker, an engine and a registry.
//!
//! Each folder of examples is a test in a module of its name. The values of an example's variables are their defaults, except
//! those that only the test knows: the ids of what it made. An example that the test does not name is run at its end.

mod account;
mod administration;
mod images;
mod pulling;
mod scripts;
mod shape;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use async_graphql::parser::parse_query;
use async_graphql::parser::types::VariableDefinition;
use serde_json::{Value, json};

use crate::support::graphql::{Client, id};
use crate::support::socket::Subscription;

/// Where the examples are.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// Folders whose examples are run, each by a test.
const RUN: &[&str] = &["account", "administration", "images", "pulling"];

/// Modules for relay-compiler, with directives that only it knows: compiled by `tests/clients/schema`, and not run.
const COMPILED: &[&str] = &["relay"];

/// Scripts for node, which `scripts` here runs.
const SCRIPTS: &[&str] = &["scripts"];

/// Lists that are rightly empty at times. Whatever else is empty in an answer shows nothing to whoever tries the example.
const MAY_BE_EMPTY: &[&str] = &["attempts", "exposedPorts", "labels", "layers", "userErrors"];

/// The examples of one folder, and which of them were not run yet.
struct Examples {
    folder: PathBuf,
    left: BTreeSet<String>,
}

impl Examples {
    fn of(folder: &str) -> Self {
        assert!(RUN.contains(&folder));
        let folder = Path::new(FOLDER).join(folder);
        let left = names(&folder, ".graphql").collect();
        Self { folder, left }
    }

    /// Runs a query or mutation, with these values in the place of its variables' defaults. Returns the value of its
    /// only field, which was answered whole: no error of either kind, nothing null or empty that the example is about.
    async fn run(&mut self, client: &Client, name: &str, known: Value) -> Value {
        let (document, variables) = self.take(name, known);
        let mut data = client.ask(&document, variables).await;
        let fields = data.as_object_mut().unwrap();
        assert_eq!(fields.len(), 1, "{name}: one field for each example");
        let answer = fields.values_mut().next().unwrap().take();
        is_whole(name, &answer);
        answer
    }

    /// Starts a subscription.
    async fn watch(&mut self, client: &Client, name: &str, known: Value) -> Subscription {
        let (document, variables) = self.take(name, known);
        Subscription::start(client, &document, variables).await
    }

    /// Runs every example that was not run yet, by name, with these values for every field of an input or variable that is
    /// called so, and waits for the job that an answer has.
    async fn run_the_rest(mut self, client: &Client, known: &Value) {
        while let Some(name) = self.left.first().cloned() {
            let (_, mut variables) = self.take(&name, json!({}));
            put_by_name(&mut variables, known);
            let answer = self.run(client, &name, variables).await;
            if let Some(job) = answer.get("job") {
                client.succeeded(&id(job)).await;
            }
        }
    }

    /// The document of an example and its variables.
    fn take(&mut self, name: &str, known: Value) -> (String, Value) {
        self.left.remove(name);
        let path = self.folder.join(format!("{name}.graphql"));
        let document = fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut variables = defaults(&document);
        put(name, &mut variables, known);
        (document, variables)
    }
}

/// The variables of a document: the default of each, or null.
fn defaults(document: &str) -> Value {
    let document = parse_query(document).unwrap();
    let operations = document.operations.iter();
    let variables = operations.flat_map(|(_, operation)| &operation.node.variable_definitions);
    let default = |variable: &VariableDefinition| {
        let value = variable.default_value.clone()?.node;
        Some(value.into_json().unwrap())
    };
    variables
        .map(|variable| &variable.node)
        .map(|variable| (variable.name.node.as_str(), default(variable)))
        .collect()
}

/// Puts the values that a test knows in the place of the example's, which has to have each of them.
fn put(name: &str, example: &mut Value, known: Value) {
    match known {
        Value::Object(known) => {
            for (key, value) in known {
                let there = example.get_mut(&key);
                let there =
                    there.unwrap_or_else(|| panic!("the variables of {name} have no {key}"));
                put(name, there, value);
            }
        }
        known => *example = known,
    }
}

/// Puts known values in the place of all that have their names.
fn put_by_name(example: &mut Value, known: &Value) {
    for (name, value) in example.as_object_mut().into_iter().flatten() {
        match known.get(name) {
            Some(known) => *value = known.clone(),
            None => put_by_name(value, known),
        }
    }
}

/// Fails unless an answer has what whoever runs the example wants to see.
fn is_whole(name: &str, answer: &Value) {
    assert!(!answer.is_null(), "{name}: null");
    if let Some(errors) = answer.get("userErrors") {
        assert_eq!(*errors, json!([]), "{name}");
        let nothing = |(_, value): &(&String, &Value)| value.is_null();
        let nothing = answer.as_object().unwrap().iter().find(nothing);
        assert_eq!(nothing, None, "{name}: {answer}");
    }
    has_no_empty_list(name, answer);
}

fn has_no_empty_list(name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let shows = value.as_array().is_none_or(|items| !items.is_empty());
                let may_be_empty = MAY_BE_EMPTY.contains(&field.as_str());
                assert!(shows || may_be_empty, "{name}: {field} is empty");
                has_no_empty_list(name, value);
            }
        }
        Value::Array(items) => {
            for item in items {
                assert!(!item.is_null(), "{name}: null in a list");
                has_no_empty_list(name, item);
            }
        }
        _ => {}
    }
}

/// The names of the files of a folder with this ending, without it.
fn names(folder: &Path, ending: &'static str) -> impl Iterator<Item = String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.filter_map(move |entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(ending).map(ToOwned::to_owned)
    })
}

//! What the folder of examples looks like: nothing in it that nobody runs, nothing in the API without an example.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use apollo_compiler::ast::OperationType;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};

use super::{COMPILED, FOLDER, RUN, SCRIPTS, names};

const SCHEMA: &str = include_str!("../../../schema.graphql");

fn schema() -> Valid<Schema> {
    Schema::parse_and_validate(SCHEMA, "schema.graphql").unwrap()
}

/// Every example that is run: its path, its text and what it says.
fn examples(schema: &Valid<Schema>) -> Vec<(String, String, Valid<ExecutableDocument>)> {
    let mut all = Vec::new();
    for folder in RUN {
        let folder = Path::new(FOLDER).join(folder);
        for name in names(&folder, ".graphql") {
            let path = folder.join(format!("{name}.graphql"));
            let text = fs::read_to_string(&path).unwrap();
            let document = ExecutableDocument::parse_and_validate(schema, &text, &path)
                .unwrap_or_else(|error| panic!("{error}"));
            all.push((name, text, document));
        }
    }
    all
}

#[test]
fn every_folder_is_run_or_compiled_and_every_file_is_an_example() {
    let known: BTreeSet<_> = RUN
        .iter()
        .chain(COMPILED)
        .chain(SCRIPTS)
        .map(ToString::to_string)
        .collect();
    let there = names(Path::new(FOLDER), "").filter(|name| name != "README.md");
    let there: BTreeSet<_> = there.collect();
    assert_eq!(there, known);
    for folder in RUN {
        let folder = Path::new(FOLDER).join(folder);
        let documents = names(&folder, ".graphql").count();
        assert_eq!(names(&folder, "").count(), documents, "{folder:?}");
    }
}

#[test]
fn an_example_says_what_it_is_for_is_called_like_its_file_and_has_its_own_values() {
    for (name, text, document) in examples(&schema()) {
        assert!(text.starts_with("# "), "{name} begins with what it is for");
        let mut operations = document.operations.iter();
        let operation = operations.next().unwrap();
        assert!(operations.next().is_none(), "{name} is one operation");
        let words = name
            .split('_')
            .map(|word| word[..1].to_uppercase() + &word[1..]);
        // As Relay wants it.
        let kind = match operation.operation_type {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let expected = words.collect::<String>() + kind;
        assert_eq!(operation.name.as_ref().unwrap(), expected.as_str());
        for variable in &operation.variables {
            let has_value = variable.default_value.is_some() || !variable.ty.is_non_null();
            assert!(has_value, "{name}: {} has no default", variable.name);
        }
    }
}

/// A query, mutation or subscription that is new has an example before it is released.
#[test]
fn everything_that_can_be_asked_done_and_watched_has_an_example() {
    let schema = schema();
    let mut shown = BTreeSet::new();
    for (_, _, document) in examples(&schema) {
        for operation in document.operations.iter() {
            let fields = operation.root_fields(&document);
            shown.extend(fields.map(|field| field.name.to_string()));
        }
    }
    for root in ["Query", "Mutation", "Subscription"] {
        for field in schema.get_object(root).unwrap().fields.keys() {
            let is_shown = shown.contains(field.as_str());
            assert!(is_shown, "{root}.{field} has no example");
        }
    }
}

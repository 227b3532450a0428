//! The schema that the program prints against the contract that clients rely on.

use std::collections::BTreeMap;

use apollo_compiler::schema::{ExtendedType, FieldDefinition, InputValueDefinition};
use apollo_compiler::{Node, Schema};
use wharfinger::graphql::sdl;

const CONTRACT: &str = include_str!("../contract.graphql");
const WRITTEN_DOWN: &str = include_str!("../../schema.graphql");

/// What the contract says in other words than the program, and what the program says instead.
const REWORDED: &[(&str, &str)] = &[
    // Of this and all that follows: see below.
    ("Mutation.createUser", "Administrators only: make a user"),
    (
        "User.ledger",
        "Every movement of their credits, newest first. Their amounts add up to balance.total.",
    ),
    // There it is about this field and the next.
    ("Job.attempt", "Tries started so far."),
];

/// What only administrators may do: the contract says it of all of them at once.
const OF_ADMINISTRATORS: &[&str] = &[
    "createUser",
    "updateUser",
    "grantCredits",
    "setImageVisibility",
    "setHostSchedulable",
    "setQueuePaused",
    "retryDeadJobs",
    "discardJob",
    "sweepImages",
];

/// What can be said of a part of a schema.
struct Part {
    /// Its type with nullability and default, or what kind of type it is.
    signature: String,
    /// On one line.
    description: Option<String>,
}

type Description = Option<Node<str>>;

/// The parts of a schema by their coordinates: `Type`, `Type.field`, `Type.field(argument:)`.
type Parts = BTreeMap<String, Part>;

fn parts(schema: &str, name: &str) -> Parts {
    let schema = Schema::parse_and_validate(schema, name).unwrap_or_else(|error| panic!("{error}"));
    let mut parts = Parts::new();
    for (name, definition) in &schema.types {
        if definition.is_built_in() {
            continue;
        }
        let mut put = |coordinate: String, signature: String, description: Description| {
            let words = |text: &Node<str>| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let part = Part {
                signature,
                description: description.as_ref().map(words),
            };
            parts.insert(coordinate, part);
        };
        let (kind, description) = match definition {
            ExtendedType::Scalar(of) => ("scalar".to_owned(), of.description.clone()),
            ExtendedType::Object(of) => {
                fields(&mut put, name, of.fields.values().map(|field| &***field));
                let interfaces = of.implements_interfaces.iter();
                let interfaces: Vec<_> = interfaces.map(|interface| interface.as_str()).collect();
                let kind = format!("type {}", interfaces.join(" & "));
                (kind, of.description.clone())
            }
            ExtendedType::Interface(of) => {
                fields(&mut put, name, of.fields.values().map(|field| &***field));
                ("interface".to_owned(), of.description.clone())
            }
            ExtendedType::Union(of) => ("union".to_owned(), of.description.clone()),
            ExtendedType::Enum(of) => {
                for value in of.values.values() {
                    let coordinate = format!("{name}.{}", value.value);
                    put(coordinate, "value".to_owned(), value.description.clone());
                }
                ("enum".to_owned(), of.description.clone())
            }
            ExtendedType::InputObject(of) => {
                for field in of.fields.values() {
                    let coordinate = format!("{name}.{}", field.name);
                    put(coordinate, input(field), field.description.clone());
                }
                ("input".to_owned(), of.description.clone())
            }
        };
        put(name.to_string(), kind, description);
    }
    parts
}

fn fields<'a>(
    put: &mut impl FnMut(String, String, Description),
    of: &str,
    fields: impl Iterator<Item = &'a FieldDefinition>,
) {
    for field in fields {
        let coordinate = format!("{of}.{}", field.name);
        for argument in &field.arguments {
            let of_argument = format!("{coordinate}({}:)", argument.name);
            put(of_argument, input(argument), argument.description.clone());
        }
        put(coordinate, field.ty.to_string(), field.description.clone());
    }
}

fn input(value: &InputValueDefinition) -> String {
    match &value.default_value {
        Some(default) => format!("{} = {default}", value.ty),
        None => value.ty.to_string(),
    }
}

/// A sentence that may go on, or be the end of a longer one.
fn bare(words: &str) -> String {
    words.trim_end_matches('.').to_lowercase()
}

#[test]
fn the_schema_has_all_of_the_contract_as_it_says() {
    let contract = parts(CONTRACT, "contract.graphql");
    let built = parts(&sdl(), "printed.graphql");
    let mut wrong = Vec::new();
    for (coordinate, promised) in &contract {
        let signature = built.get(coordinate).map(|part| &part.signature);
        if signature != Some(&promised.signature) {
            let promised = &promised.signature;
            wrong.push(format!("{coordinate} is {signature:?}, and not {promised}"));
        }
    }
    // More is welcome, as long as clients of the contract need not know of it.
    for (coordinate, part) in &built {
        let argument = coordinate.split_once('(');
        let known = argument.is_some_and(|(field, _)| contract.contains_key(field));
        let required = part.signature.ends_with('!');
        if known && required && !contract.contains_key(coordinate) {
            wrong.push(format!("{coordinate} is required, and not in the contract"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_schema_says_of_each_part_what_the_contract_says() {
    let contract = parts(CONTRACT, "contract.graphql");
    let built = parts(&sdl(), "printed.graphql");
    let said = |coordinate: &str| {
        let part = built.get(coordinate);
        part.and_then(|part| part.description.clone())
            .unwrap_or_default()
    };
    let mut wrong = Vec::new();
    for (coordinate, part) in &contract {
        let reworded = REWORDED.iter().find(|(of, _)| of == coordinate);
        let promised = match reworded {
            Some((_, words)) => *words,
            None => part.description.as_deref().unwrap_or_default(),
        };
        let said = said(coordinate);
        if !bare(&said).contains(&bare(promised)) {
            wrong.push(format!("{coordinate}: {promised:?} is not in {said:?}"));
        }
    }
    for mutation in OF_ADMINISTRATORS {
        let said = said(&format!("Mutation.{mutation}"));
        if !said.contains("Administrators only") {
            wrong.push(format!("{mutation} is for administrators: {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_is_printed() {
    assert!(
        WRITTEN_DOWN == sdl(),
        "api/schema.graphql is not what the code says: run `make sdl`"
    );
}

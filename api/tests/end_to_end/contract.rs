//! The schema that the program prints against the contract that clients rely on.

use std::collections::BTreeMap;
use std::process::Command;

use apollo_compiler::Schema;
use apollo_compiler::schema::{ExtendedType, FieldDefinition, InputValueDefinition};

const CONTRACT: &str = include_str!("../contract.graphql");
const WRITTEN_DOWN: &str = include_str!("../../schema.graphql");

/// What the contract has and the program has not yet: a type with all that is in it, or a field. What is built leaves
/// this list.
const NOT_BUILT: &[&str] = &[];

/// What the program prints.
fn printed() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_wharfinger"))
        .arg("schema")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// What can be said of a part of a schema.
struct Part {
    /// Its type with nullability and default, or what kind of type it is.
    signature: String,
    described: bool,
}

/// The parts of a schema by their coordinates: `Type`, `Type.field`, `Type.field(argument:)`.
type Parts = BTreeMap<String, Part>;

fn parts(schema: &str, name: &str) -> Parts {
    let schema = Schema::parse_and_validate(schema, name).unwrap_or_else(|error| panic!("{error}"));
    let mut parts = Parts::new();
    for (name, definition) in &schema.types {
        if definition.is_built_in() {
            continue;
        }
        let mut put = |coordinate: String, signature: String, described: bool| {
            let part = Part {
                signature,
                described,
            };
            parts.insert(coordinate, part);
        };
        let (kind, described) = match definition {
            ExtendedType::Scalar(of) => ("scalar".to_owned(), of.description.is_some()),
            ExtendedType::Object(of) => {
                fields(&mut put, name, of.fields.values().map(|field| &***field));
                let interfaces: Vec<_> = of
                    .implements_interfaces
                    .iter()
                    .map(|interface| interface.as_str())
                    .collect();
                let kind = format!("type {}", interfaces.join(" & "));
                (kind, of.description.is_some())
            }
            ExtendedType::Interface(of) => {
                fields(&mut put, name, of.fields.values().map(|field| &***field));
                ("interface".to_owned(), of.description.is_some())
            }
            ExtendedType::Union(of) => ("union".to_owned(), of.description.is_some()),
            ExtendedType::Enum(of) => {
                for value in of.values.values() {
                    let described = value.description.is_some();
                    put(
                        format!("{name}.{}", value.value),
                        "value".to_owned(),
                        described,
                    );
                }
                ("enum".to_owned(), of.description.is_some())
            }
            ExtendedType::InputObject(of) => {
                for field in of.fields.values() {
                    put(
                        format!("{name}.{}", field.name),
                        input(field),
                        field.description.is_some(),
                    );
                }
                ("input".to_owned(), of.description.is_some())
            }
        };
        put(name.to_string(), kind, described);
    }
    parts
}

fn fields<'a>(
    put: &mut impl FnMut(String, String, bool),
    of: &str,
    fields: impl Iterator<Item = &'a FieldDefinition>,
) {
    for field in fields {
        let coordinate = format!("{of}.{}", field.name);
        for argument in &field.arguments {
            put(
                format!("{coordinate}({}:)", argument.name),
                input(argument),
                argument.description.is_some(),
            );
        }
        put(
            coordinate,
            field.ty.to_string(),
            field.description.is_some(),
        );
    }
}

fn input(value: &InputValueDefinition) -> String {
    match &value.default_value {
        Some(default) => format!("{} = {default}", value.ty),
        None => value.ty.to_string(),
    }
}

fn within(coordinate: &str, item: &str) -> bool {
    coordinate
        .strip_prefix(item)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '(']))
}

#[test]
fn what_is_built_of_the_contract_is_as_the_contract_says() {
    let contract = parts(CONTRACT, "contract.graphql");
    let built = parts(&printed(), "printed.graphql");
    let mut wrong = Vec::new();
    for (coordinate, promised) in &contract {
        let listed = NOT_BUILT.iter().any(|item| within(coordinate, item));
        match built.get(coordinate) {
            None if listed => {}
            None => wrong.push(format!("{coordinate} is missing")),
            Some(_) if listed => {
                wrong.push(format!("{coordinate} is built: take it off NOT_BUILT"));
            }
            Some(found) if found.signature != promised.signature => wrong.push(format!(
                "{coordinate} is {}, and not {}",
                found.signature, promised.signature
            )),
            Some(_) => {}
        }
    }
    for item in NOT_BUILT {
        if !contract.contains_key(*item) {
            wrong.push(format!("the contract has no {item}"));
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
fn every_part_of_the_schema_says_what_it_is() {
    let built = parts(&printed(), "printed.graphql");
    let silent: Vec<_> = built
        .iter()
        .filter(|(_, part)| !part.described)
        .map(|(coordinate, _)| coordinate.as_str())
        .collect();
    assert!(silent.is_empty(), "without a description: {silent:#?}");
}

#[test]
fn the_schema_in_the_repository_is_the_one_that_is_printed() {
    assert!(
        WRITTEN_DOWN == printed(),
        "api/schema.graphql is not what the code says: run `make sdl`"
    );
}

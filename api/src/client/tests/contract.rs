//! Documents of the client and the contract: each is valid, and the toy gateway executes them.

use crate::client::operations::ALL;
use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use async_graphql::{Request, Response};
use serde_json::{Value, json};
use std::sync::LazyLock;

static CONTRACT: LazyLock<Valid<Schema>> = LazyLock::new(|| {
    let contract = include_str!("../../../tests/contract.graphql");
    Schema::parse_and_validate(contract, "contract.graphql").unwrap()
});

fn parsed(name: &str, document: &str) -> Valid<ExecutableDocument> {
    ExecutableDocument::parse_and_validate(&CONTRACT, document, format!("{name}.graphql"))
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Executes a request whose only field `resolve` makes a value for, by the field's name and the variables.
pub(super) fn execute(request: &Request, resolve: impl FnOnce(&str, &Value) -> Value) -> Response {
    let document = parsed("request", &request.query);
    let operation = document.operations.get(None).unwrap();
    let field = &operation.root_fields(&document).next().unwrap().name;
    let variables = serde_json::to_value(&request.variables).unwrap();
    let root = json!({ field.as_str(): resolve(field, &variables) });
    let variables: JsonMap = serde_json::from_value(variables).unwrap();
    let answer = Execution::new(&CONTRACT, &document)
        .raw_variable_values(&variables)
        .execute_sync(&Object("", &root))
        .unwrap();
    assert!(answer.errors.is_empty(), "{:?}", answer.errors);
    let data = serde_json::to_value(answer.data).unwrap();
    Response::new(async_graphql::Value::from_json(data).unwrap())
}

/// A value of this type of the contract.
struct Object<'a>(&'a str, &'a Value);

impl ObjectValue for Object<'_> {
    fn type_name(&self) -> &str {
        self.0
    }

    fn resolve_field<'a>(
        &'a self,
        info: &'a ResolveInfo<'a>,
    ) -> Result<ResolvedValue<'a>, FieldError> {
        let type_name = info.field_definition().ty.inner_named_type();
        Ok(resolved(type_name, &self.1[info.field_name()]))
    }
}

fn resolved<'a>(type_name: &'a str, value: &'a Value) -> ResolvedValue<'a> {
    match value {
        Value::Object(_) => ResolvedValue::object(Object(type_name, value)),
        Value::Array(items) => {
            ResolvedValue::list(items.iter().map(move |item| resolved(type_name, item)))
        }
        leaf => ResolvedValue::Leaf(serde_json::from_value(leaf.clone()).unwrap()),
    }
}

#[test]
fn every_document_is_valid_against_the_contract() {
    for (name, document) in ALL {
        assert!(
            parsed(name, document).operations.named.contains_key(*name),
            "no operation named {name}"
        );
    }
}

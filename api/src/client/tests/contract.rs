//! Every document of the client is valid against the contract.

use crate::client::operations::ALL;
use apollo_compiler::{ExecutableDocument, Schema};

const CONTRACT: &str = include_str!("../../../tests/contract.graphql");

#[test]
fn every_document_is_valid_against_the_contract() {
    let schema = Schema::parse_and_validate(CONTRACT, "contract.graphql").unwrap();
    for (name, document) in ALL {
        let parsed =
            ExecutableDocument::parse_and_validate(&schema, *document, format!("{name}.graphql"))
                .unwrap_or_else(|error| panic!("{error}"));
        assert!(
            parsed.operations.named.contains_key(*name),
            "no operation named {name}"
        );
    }
}

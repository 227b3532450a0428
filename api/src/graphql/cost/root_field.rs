//! Looks at the first field of an operation. Only for documents that were measured, whose fragments have no cycles.

use async_graphql::Name;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};

/// Returns the response key of the first field of a selection set, also where it is in a fragment.
pub(crate) fn first_field<'d>(
    document: &'d ExecutableDocument,
    selections: &'d SelectionSet,
) -> Option<&'d Name> {
    match &selections.items.first()?.node {
        Selection::Field(field) => Some(&field.node.response_key().node),
        Selection::InlineFragment(fragment) => {
            first_field(document, &fragment.node.selection_set.node)
        }
        Selection::FragmentSpread(spread) => {
            let fragment = document.fragments.get(&spread.node.fragment_name.node)?;
            first_field(document, &fragment.node.selection_set.node)
        }
    }
}

/// Returns whether every subscription of the document has exactly one field at its root, and none of introspection (GraphQL
/// specification, 5.2.3.1 "Single Root Field").
pub(crate) fn subscriptions_have_single_fields(document: &ExecutableDocument) -> bool {
    document.operations.iter().all(|(_, operation)| {
        let operation = &operation.node;
        operation.ty != OperationType::Subscription
            || is_single_field(document, &operation.selection_set.node)
    })
}

/// Returns whether a selection set has one field, in however many fragments. Two fields do not pass even if they are alike,
/// because async-graphql would execute both. Any other number of items than one fails at once, so that no fragment is visited
/// twice.
fn is_single_field(document: &ExecutableDocument, selections: &SelectionSet) -> bool {
    let [selection] = selections.items.as_slice() else {
        return false;
    };
    match &selection.node {
        Selection::Field(field) => !field.node.name.node.starts_with("__"),
        Selection::InlineFragment(fragment) => {
            is_single_field(document, &fragment.node.selection_set.node)
        }
        Selection::FragmentSpread(spread) => {
            let fragment = document.fragments.get(&spread.node.fragment_name.node);
            // Validation reports a missing fragment.
            fragment
                .is_none_or(|fragment| is_single_field(document, &fragment.node.selection_set.node))
        }
    }
}

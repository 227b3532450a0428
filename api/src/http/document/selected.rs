//! Chooses the operation of a document.

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
};

/// Returns the kind of the chosen operation; `None` where the executor will report that there is no such operation.
pub(crate) fn operation_type(
    document: &ExecutableDocument,
    name: Option<&str>,
) -> Option<OperationType> {
    chosen(document, name).map(|operation| operation.ty)
}

/// Returns the operation that runs: the one of this name, or the only one. `None` for several without a name, because the
/// client has to choose (GraphQL specification, 6.1 "Executing Requests").
pub(crate) fn chosen<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<&'d OperationDefinition> {
    let mut operations = document.operations.iter();
    let found = if let Some(name) = name {
        operations.find(|(known, _)| known.is_some_and(|known| known == name))
    } else {
        let first = operations.next();
        first.filter(|_| operations.next().is_none())
    };
    found.map(|(_, operation)| &operation.node)
}

/// Returns the only field of a subscription, if it stands at the root and not in a fragment: all events are of it.
pub(crate) fn subscribed_field<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<&'d Field> {
    let operation = chosen(document, name)?;
    match operation.selection_set.node.items.as_slice() {
        [only] if operation.ty == OperationType::Subscription => match &only.node {
            Selection::Field(field) => Some(&field.node),
            _ => None,
        },
        _ => None,
    }
}

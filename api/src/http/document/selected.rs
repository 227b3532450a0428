//! Which operation of a document would run.

use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
};

/// The kind of the operation that would run; `None` where the executor will say that there is no such one.
pub(crate) fn operation_type(
    document: &ExecutableDocument,
    name: Option<&str>,
) -> Option<OperationType> {
    chosen(document, name).map(|operation| operation.ty)
}

/// The operation that would run. Of several, none without a name: the parser keeps them in no order, and which one is meant
/// is the client's to say (GraphQL specification, 6.1 "Executing Requests").
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

/// The field of a subscription that has one at its root and names it plainly: all its events are of it.
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

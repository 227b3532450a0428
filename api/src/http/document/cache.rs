//! Parsed documents: the one place where the text of a request becomes a document.
//!
//! Clients send the same few texts again and again. [`Documents`] keeps the parsed form of those that only read, within a
//! bound. The steps before execution (limits, persisted queries, spans) call [`Documents::parse`], and neither they nor the
//! executor parse the text again. Every request is validated.

use std::sync::Arc;

use async_graphql::parser::{parse_query, types::ExecutableDocument, types::OperationType};
use async_graphql::{Name, Request, ServerError};

use super::recent::Recent;

/// Most bytes of text that are kept. A parsed document is about ten times as large as its text.
const MOST_KEPT: usize = 1 << 19;

/// Longest text that is kept, in bytes. Documents that people write are shorter.
const LONGEST_KEPT: usize = 1 << 14;

/// Returns whether a document may stay in memory after its request: its text is short, and it has no mutation, whose text
/// can contain a password.
pub(crate) fn may_be_kept(text: &str, document: &ExecutableDocument) -> bool {
    let mut operations = document.operations.iter();
    text.len() <= LONGEST_KEPT
        && operations.all(|(_, operation)| operation.node.ty != OperationType::Mutation)
}

/// Returns whether the operation of this name declares a variable; whether any operation does, where no name is given.
fn declares(document: &ExecutableDocument, operation_name: Option<&str>, variable: &str) -> bool {
    let mut chosen = document
        .operations
        .iter()
        .filter(|(name, _)| operation_name.is_none() || name.map(Name::as_str) == operation_name);
    chosen.any(|(_, operation)| {
        let mut declared = operation.node.variable_definitions.iter();
        declared.any(|declared| declared.node.name.node == variable)
    })
}

/// The parsed documents that were used last, by their text.
pub(crate) struct Documents(Recent<Box<str>, Arc<ExecutableDocument>>);

impl Default for Documents {
    fn default() -> Self {
        Self(Recent::new(None, MOST_KEPT))
    }
}

impl Documents {
    /// Returns the document of a request, and sets it in the request, so that the executor does not parse the text. Fails
    /// where the text is not GraphQL, with an error for the caller.
    ///
    /// Drops the values of variables that the operation does not declare. Nothing reads them, a subscription would keep them
    /// for as long as it lasts, and two subscriptions that differ in nothing else could not share an execution.
    pub(crate) fn parse(
        &self,
        request: &mut Request,
    ) -> Result<Arc<ExecutableDocument>, ServerError> {
        let document = match self.0.get(request.query.as_str()) {
            Some(known) => known,
            None => Arc::new(parse_query(&request.query)?),
        };
        let name = request.operation_name.as_deref();
        request
            .variables
            .retain(|variable, _| declares(&document, name, variable));
        request.set_parsed_query(document.as_ref().clone());
        Ok(document)
    }

    /// Keeps the document of a text, if it may be kept. Call it only for a document within the limits: others would let a
    /// client fill the cache.
    pub(crate) fn keep(&self, text: &str, document: &Arc<ExecutableDocument>) {
        if may_be_kept(text, document) && self.0.get(text).is_none() {
            self.0.keep(text.into(), text.len(), Arc::clone(document));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(documents: &Documents, text: &str) -> (Request, Arc<ExecutableDocument>) {
        let mut request = Request::new(text);
        let document = documents.parse(&mut request).unwrap();
        documents.keep(text, &document);
        (request, document)
    }

    /// Sorted by name, because a parser keeps several in no order.
    fn operations(document: &ExecutableDocument) -> Vec<String> {
        let operations = document.operations.iter();
        let mut operations: Vec<_> = operations
            .map(|(name, operation)| format!("{name:?} {operation:?}"))
            .collect();
        operations.sort();
        operations
    }

    #[test]
    fn a_text_that_only_reads_is_parsed_once_and_no_other_is_kept() {
        let long = format!("{{ a }} #{}", "x".repeat(LONGEST_KEPT));
        for (text, kept) in [
            ("{ a }", true),
            ("query A { a } query B { b }", true),
            ("subscription { a }", true),
            (
                "mutation { signIn(input: { password: \"x\" }) { token } }",
                false,
            ),
            ("query A { a } mutation B { b }", false),
            (long.as_str(), false),
        ] {
            let documents = Documents::default();
            let (_, first) = request(&documents, text);
            let (mut again, second) = request(&documents, text);
            assert_eq!(Arc::ptr_eq(&first, &second), kept, "{text:.60}");
            let again = again.parsed_query().unwrap();
            assert_eq!(operations(again), operations(&first));
        }
        let mut broken = Request::new("{");
        assert!(Documents::default().parse(&mut broken).is_err());
    }

    #[test]
    fn the_texts_that_are_kept_have_a_bound() {
        let documents = Documents::default();
        let filler = "x".repeat(8000);
        let texts: Vec<_> = (0..200)
            .map(|number| format!("{{ a{number} }} #{filler}"))
            .collect();
        for text in &texts {
            request(&documents, text);
        }
        let kept = texts
            .iter()
            .filter(|text| documents.0.get(text.as_str()).is_some());
        let bytes: usize = kept.map(String::len).sum();
        assert!((MOST_KEPT / 2..=MOST_KEPT).contains(&bytes));
    }

    #[test]
    fn variables_that_the_operation_does_not_declare_are_let_go() {
        let left = |text: &str, name: Option<&str>| {
            let variables = json!({"a": 1, "b": 2, "c": [3]});
            let variables = async_graphql::Variables::from_json(variables);
            let mut request = Request::new(text).variables(variables);
            request.operation_name = name.map(str::to_owned);
            Documents::default().parse(&mut request).unwrap();
            request
                .variables
                .keys()
                .map(ToString::to_string)
                .collect::<String>()
        };
        let one = "subscription($a: Int, $z: Int) { x(a: $a) }";
        assert_eq!(left(one, None), "a");
        assert_eq!(left("subscription { x }", None), "");
        let two = "query A($a: Int) { a } query B($b: Int, $c: [Int]) { b }";
        assert_eq!(left(two, Some("A")), "a");
        assert_eq!(left(two, Some("B")), "bc");
        // The executor refuses a document with no operation of this name.
        assert_eq!(left(two, Some("C")), "");
        assert_eq!(left(two, None), "abc");
    }
}

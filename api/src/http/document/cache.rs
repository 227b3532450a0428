//! Documents: the one place where the text of a request becomes a document.
//!
//! Clients send few texts again and again. Those that only read are kept, parsed, in a cache with a bound; whatever looks
//! at documents before they run (limits, persisted queries, spans) calls [`Documents::parse`], and neither it nor the
//! executor parses the text again. A document that cannot become invalid is also validated only once ([`ValidateOnce`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_graphql::parser::{parse_query, types::ExecutableDocument, types::OperationType};
use async_graphql::{Data, Executor, Name, Request, Response, ServerError};
use futures::stream::BoxStream;
use lru::LruCache;

use crate::http::authenticator::data_of;
use crate::http::response::error::is_request_error;

/// Bytes of text that are kept in all. A parsed document is about ten times as large as its text.
const MOST_KEPT: usize = 1 << 19;

/// Longest text that is kept. Documents that people write are shorter.
const LONGEST_KEPT: usize = 1 << 14;

/// A parsed document, with what is known of it.
pub(crate) struct Document {
    tree: ExecutableDocument,
    /// Whether it is as valid the next time: it has one operation, and no variables, whose values are validated too.
    constant: bool,
    found_valid: AtomicBool,
}

impl Document {
    fn new(tree: ExecutableDocument) -> Self {
        let constant = tree.operations.iter().count() == 1
            && tree
                .operations
                .iter()
                .all(|(_, operation)| operation.node.variable_definitions.is_empty());
        Self {
            tree,
            constant,
            found_valid: AtomicBool::new(false),
        }
    }

    /// The document itself.
    pub(crate) fn tree(&self) -> &ExecutableDocument {
        &self.tree
    }

    /// Whether the operation that is asked for declares this variable; any operation where no name is given.
    fn declares(&self, operation_name: Option<&str>, variable: &str) -> bool {
        let mut chosen = self.tree.operations.iter().filter(|(name, _)| {
            operation_name.is_none() || name.map(Name::as_str) == operation_name
        });
        chosen.any(|(_, operation)| {
            let declared = &operation.node.variable_definitions;
            declared
                .iter()
                .any(|declared| declared.node.name.node == variable)
        })
    }

    /// Whether it may be kept, of which this is the text.
    pub(crate) fn may_be_kept(&self, text: &str) -> bool {
        text.len() <= LONGEST_KEPT && self.only_reads()
    }

    /// The text of a mutation can have a password in it, which must not stay in memory.
    fn only_reads(&self) -> bool {
        self.tree
            .operations
            .iter()
            .all(|(_, operation)| operation.node.ty != OperationType::Mutation)
    }
}

/// Documents that were asked for lately. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Documents(Arc<Mutex<Kept>>);

/// The documents by their text, and how long the texts are in all.
struct Kept {
    documents: LruCache<Box<str>, Arc<Document>>,
    bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            documents: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl Kept {
    fn keep(&mut self, text: &str, document: &Arc<Document>) {
        self.bytes += text.len();
        if self
            .documents
            .put(text.into(), Arc::clone(document))
            .is_some()
        {
            // Another request had parsed it meanwhile.
            self.bytes -= text.len();
        }
        while self.bytes > MOST_KEPT
            && let Some((oldest, _)) = self.documents.pop_lru()
        {
            self.bytes -= oldest.len();
        }
    }
}

impl Documents {
    /// The document of a request, from here on parsed for everybody who looks at it, the executor too. An error is the
    /// caller's: the text is not GraphQL.
    ///
    /// Values of variables that the operation does not declare are let go here, where every transport passes: nothing
    /// reads them, and a subscription would keep them for as long as it lasts, and share with nobody who sent others.
    pub(crate) fn parse(&self, request: &mut Request) -> Result<Arc<Document>, ServerError> {
        let known = self.kept().documents.get(request.query.as_str()).cloned();
        let document = match known {
            Some(known) => known,
            None => Arc::new(Document::new(parse_query(&request.query)?)),
        };
        let name = request.operation_name.as_deref();
        request
            .variables
            .retain(|variable, _| document.declares(name, variable));
        request.set_parsed_query(document.tree.clone());
        request.data.insert(Arc::clone(&document));
        Ok(document)
    }

    /// Keeps the document of a text, if it may be kept. Only for one that is within the limits: whoever sends anything else
    /// could fill the room with it.
    pub(crate) fn keep(&self, text: &str, document: &Arc<Document>) {
        if document.may_be_kept(text) && !self.kept().documents.contains(text) {
            self.kept().keep(text, document);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Executes requests, and validates a document that is always as valid as the first time no more than once.
///
/// Validation is the longest part of a short query after its SQL. The values of variables are part of it, so a document
/// that has any is validated each time.
#[derive(Clone)]
pub struct ValidateOnce<E> {
    validating: E,
    trusting: E,
}

impl<E> ValidateOnce<E> {
    /// Two executors of the same schema: one that validates by every rule, and one in `ValidationMode::Fast`, which
    /// still applies the limits of the schema.
    pub fn new(validating: E, trusting: E) -> Self {
        Self {
            validating,
            trusting,
        }
    }
}

impl<E: Executor> Executor for ValidateOnce<E> {
    async fn execute(&self, request: Request) -> Response {
        let document = constant_document(&request.data);
        if let Some(known) = &document
            && known.found_valid.load(Ordering::Relaxed)
        {
            return self.trusting.execute(request).await;
        }
        let response = self.validating.execute(request).await;
        if let Some(document) = document
            && !is_request_error(&response)
        {
            document.found_valid.store(true, Ordering::Relaxed);
        }
        response
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        self.validating.execute_stream(request, session_data)
    }
}

fn constant_document(data: &Data) -> Option<Arc<Document>> {
    data_of::<Arc<Document>>(data)
        .filter(|document| document.constant)
        .cloned()
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema, ValidationMode};
    use serde_json::json;

    use super::*;

    struct Toy;

    #[Object]
    impl Toy {
        async fn double(&self, number: i32) -> i32 {
            number * 2
        }
    }

    type ToySchema = Schema<Toy, EmptyMutation, EmptySubscription>;

    fn executor() -> ValidateOnce<ToySchema> {
        let schema = |mode| {
            Schema::build(Toy, EmptyMutation, EmptySubscription)
                .validation_mode(mode)
                .finish()
        };
        ValidateOnce::new(schema(ValidationMode::Strict), schema(ValidationMode::Fast))
    }

    fn request(documents: &Documents, text: &str) -> (Request, Arc<Document>) {
        let mut request = Request::new(text);
        let document = documents.parse(&mut request).unwrap();
        documents.keep(text, &document);
        (request, document)
    }

    /// In the order of their names: a parser keeps several in none.
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
            assert_eq!(operations(again), operations(first.tree()));
        }
        let mut broken = Request::new("{");
        assert!(Documents::default().parse(&mut broken).is_err());
    }

    #[test]
    fn the_texts_that_are_kept_have_a_bound() {
        let documents = Documents::default();
        let filler = "x".repeat(8000);
        for number in 0..200 {
            request(&documents, &format!("{{ a{number} }} #{filler}"));
        }
        let kept = documents.kept();
        let texts = kept.documents.iter().map(|(text, _)| text.len());
        assert_eq!(texts.sum::<usize>(), kept.bytes);
        assert!((MOST_KEPT / 2..=MOST_KEPT).contains(&kept.bytes));
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
        // Which one would run is the executor's to refuse.
        assert_eq!(left(two, Some("C")), "");
        assert_eq!(left(two, None), "abc");
    }

    #[tokio::test]
    async fn a_document_without_variables_is_validated_once() {
        let (documents, executor) = (Documents::default(), executor());
        for _ in 0..3 {
            let (request, _) = request(&documents, "{ double(number: 21) }");
            let response = executor.execute(request).await;
            assert_eq!(response.data.into_json().unwrap(), json!({"double": 42}));
        }
        let (_, known) = request(&documents, "{ double(number: 21) }");
        assert!(known.found_valid.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn what_is_not_valid_is_refused_however_often_it_comes() {
        let (documents, executor) = (Documents::default(), executor());
        for text in [
            "{ double(number: \"x\") }",
            "{ double }",
            "{ triple(number: 1) }",
            "{ double(number: 1) { a } }",
        ] {
            for _ in 0..3 {
                let (request, _) = request(&documents, text);
                let response = executor.execute(request).await;
                assert!(is_request_error(&response), "{text}: {response:?}");
            }
        }
    }

    #[tokio::test]
    async fn the_values_of_variables_are_validated_each_time() {
        let (documents, executor) = (Documents::default(), executor());
        let text = "query($number: Int!) { double(number: $number) }";
        for (number, valid) in [(json!(1), true), (json!("x"), false), (json!(2), true)] {
            let (request, _) = request(&documents, text);
            let variables = async_graphql::Variables::from_json(json!({"number": number}));
            let response = executor.execute(request.variables(variables)).await;
            assert_eq!(!is_request_error(&response), valid, "{number}");
        }
    }
}

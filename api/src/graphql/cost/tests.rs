//! Documents that are within the limits, and documents that are not: how they are measured, and that what is refused is
//! neither validated nor executed.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_graphql::Variables;
use async_graphql::parser::parse_query;
use figment::{providers::Serialized, value::Dict};
use serde_json::{Value, json};

use super::rules::{Measured, no_introspection};
use super::sizes::Sizes;
use super::walk::{Unmeasurable, Walk};
use super::weights::Weights;
use super::*;
use crate::config::Config;
use crate::http::{ErrorCode, data_of};

/// The largest document that every GraphQL server is sent: graphql-js' `getIntrospectionQuery` with all options.
const INTROSPECTION: &str = include_str!("introspection.graphql");

fn weights() -> Weights {
    Weights::of(&crate::graphql::sdl())
}

/// The limits of `default.toml`.
fn defaults() -> LimitSettings {
    let home = ("HOME".to_owned(), "/home/ada".to_owned());
    let flags = Serialized::defaults(Dict::new());
    Config::from_sources(None, [home], &flags).unwrap().limits
}

/// Limits in front of one executor, for callers who may introspect and for all others.
fn limited<E: Executor>(executor: &E, limits: LimitSettings) -> Limited<E> {
    Limited::new(
        executor.clone(),
        executor.clone(),
        &crate::graphql::sdl(),
        limits,
    )
}

/// Returns the counts of a document, and the number of selections that were visited.
fn measure(text: &str, variables: Value) -> (Result<Sizes, Unmeasurable>, u64) {
    let document = parse_query(text).unwrap();
    let (weights, variables) = (weights(), Variables::from_json(variables));
    let mut walk = Walk::new(&document, &weights, &variables);
    let measured = walk.measure(None);
    (measured, walk.visited)
}

fn complexity(text: &str, variables: Value) -> u64 {
    measure(text, variables).0.unwrap().complexity
}

#[test]
fn every_item_of_a_page_counts() {
    let hosts = |arguments: &str, selections: &str| {
        complexity(
            &format!("{{ hosts{arguments} {{ {selections} }} }}"),
            json!({}),
        )
    };
    assert_eq!(hosts("", "nodes { id }"), 10 + 20 * 2);
    assert_eq!(hosts("(first: 7)", "nodes { id name }"), 10 + 7 * 3);
    assert_eq!(
        hosts("(last: 7)", "edges { cursor node { id } }"),
        10 + 7 * 4
    );
    assert_eq!(hosts("(first: 7)", "pageInfo { endCursor }"), 10 + 2);
    assert_eq!(
        hosts("(first: 7)", "totalCount nodes { id }"),
        10 + 10 + 7 * 2
    );
    assert_eq!(hosts("(first: 0)", "nodes { id }"), 10);
    assert_eq!(hosts("(first: -1)", "nodes { id }"), 10 + 20 * 2);
    assert_eq!(hosts("(first: 5, last: 6)", "nodes { id }"), 10 + 6 * 2);
}

#[test]
fn pages_inside_pages_multiply() {
    let text =
        "{ users(first: 100) { nodes { jobs(first: 50) { nodes { attempts { number } } } } } }";
    assert_eq!(
        complexity(text, json!({})),
        10 + 100 * (1 + 10 + 50 * (1 + 1 + 10))
    );
    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on User { jobs(first: 3) { nodes { id } } } } }";
    let of_one = 10 + 3 * 2;
    assert_eq!(
        complexity(nodes, json!({"ids": ["a", "b"]})),
        1 + 2 * of_one
    );
    let literal = nodes.replace("ids: $ids", "ids: [\"a\", \"b\", \"c\"]");
    assert_eq!(complexity(&literal, json!({})), 1 + 3 * of_one);
}

#[test]
fn the_sizes_of_pages_may_be_in_variables_and_in_fragments() {
    let text = "query($n: Int = 5) { hosts(first: $n) { ...Page } } fragment Page on HostConnection { nodes { id } }";
    assert_eq!(complexity(text, json!({})), 10 + 5 * 2);
    assert_eq!(complexity(text, json!({"n": 100})), 10 + 100 * 2);
    assert_eq!(complexity(text, json!({"n": "x"})), 10 + 20 * 2);
    let huge = json!({"n": u64::MAX});
    assert_eq!(complexity(text, huge), u64::MAX);
}

#[test]
fn depth_and_complexity_are_those_of_the_operation_that_runs() {
    let text = "query A { viewer { id } } query B { viewer { balance { total } x: id } } ";
    let document = parse_query(text).unwrap();
    let (weights, variables) = (weights(), Variables::default());
    let of = |name| {
        let sizes = Walk::new(&document, &weights, &variables)
            .measure(name)
            .unwrap();
        (sizes.depth, sizes.complexity, sizes.fields, sizes.aliases)
    };
    assert_eq!(of(Some("A")), (2, 2, 6, 1));
    assert_eq!(of(Some("B")), (3, 4, 6, 1));
    assert_eq!(of(None), (3, 4, 6, 1));
    assert_eq!(of(Some("C")), (3, 4, 6, 1));
}

/// Fragments that spread the next one so many times each, and the last of them a field.
fn bomb(fragments: usize, spreads: usize) -> String {
    let mut text = "{ viewer { ...F0 } }".to_owned();
    for number in 0..fragments {
        let spread = format!("...F{} ", number + 1).repeat(spreads);
        let _ = write!(text, "fragment F{number} on User {{ {spread} }}");
    }
    text + &format!("fragment F{fragments} on User {{ x: id @skip(if: true) }}")
}

#[test]
fn fragments_count_wherever_they_are_spread_and_are_walked_once() {
    let (sizes, visited) = measure(&bomb(3, 10), json!({}));
    let sizes = sizes.unwrap();
    // The viewer, the first spread, and ten times as many with each fragment.
    assert_eq!(sizes.fields, 1 + 1 + 10 + 100 + 1000 + 1000);
    assert_eq!(
        (sizes.aliases, sizes.directives, sizes.depth),
        (1000, 1000, 2)
    );
    assert_eq!(visited, 1 + 1 + 10 + 10 + 10 + 1);

    // As large as a body may be: far more fields than can be counted, in as many steps as it has selections.
    let large = bomb(30, 4000);
    assert!(large.len() > 700_000);
    let (sizes, visited) = measure(&large, json!({}));
    assert_eq!(sizes.unwrap().fields, u64::MAX);
    assert_eq!(visited, 2 + 30 * 4000 + 1);
}

#[test]
fn a_megabyte_of_aliases_is_walked_once() {
    let aliases: String = (0..60_000).fold(String::new(), |mut text, number| {
        let _ = write!(text, "a{number}:__typename ");
        text
    });
    let (sizes, visited) = measure(&format!("{{ {aliases} }}"), json!({}));
    assert_eq!(sizes.unwrap().aliases, 60_000);
    assert_eq!(visited, 60_000);
}

#[test]
fn what_has_no_end_or_too_many_levels_is_not_walked_to_it() {
    let cycle = "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { x: viewer { id } ...A ...A }";
    let (measured, visited) = measure(cycle, json!({}));
    assert_eq!(
        measured,
        Err(Unmeasurable::Cycle(async_graphql::Name::new("A")))
    );
    assert!(visited <= 6);
    assert!(measure(&bomb(29, 1), json!({})).0.is_ok());
    assert_eq!(
        measure(&bomb(30_000, 1), json!({})).0,
        Err(Unmeasurable::TooManyLevels)
    );
    // Walked first where it is shallow, and then spread where it is not.
    let deep = "{ ...A viewer { ...on User { ...on User { ...on User { ...on User { ...F0 } } } } } } fragment A on Query { viewer { ...F0 } }";
    let shallow_first = bomb(28, 1).replace("{ viewer { ...F0 } }", deep);
    assert_eq!(
        measure(&shallow_first, json!({})).0,
        Err(Unmeasurable::TooManyLevels)
    );
}

/// Executes nothing, and counts how often it was asked to.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Executor for Counting {
    async fn execute(&self, _: Request) -> Response {
        self.0.fetch_add(1, Ordering::SeqCst);
        Response::new(true)
    }

    fn execute_stream(&self, _: Request, _: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        self.0.fetch_add(1, Ordering::SeqCst);
        stream::iter([Response::new(1), Response::new(2)]).boxed()
    }
}

/// The code and message of the only error, once the document was refused by every way in.
async fn refused(limits: LimitSettings, text: &str) -> (ErrorCode, String) {
    let counting = Counting::default();
    let limited = limited(&counting, limits);
    let response = limited.execute(Request::new(text)).await;
    let responses: Vec<_> = limited
        .execute_stream(Request::new(text), None)
        .collect()
        .await;
    assert_eq!(counting.0.load(Ordering::SeqCst), 0, "{text:.200}");
    assert_eq!(json!([response]), json!(responses), "{text:.200}");
    let [error] = response.errors.as_slice() else {
        panic!("{response:?}");
    };
    (ErrorCode::of(error).unwrap(), error.message.clone())
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_with_both_numbers_before_it_is_executed() {
    let repeated = |text: &str, times| format!("{{ {} }}", text.repeat(times));
    let aliases: String = (0..51).fold(String::new(), |text, number| {
        text + &format!("a{number}:__typename ")
    });
    let deep =
        format!("{}id{}", "{ node(id: 1) ".repeat(17), "}".repeat(17)).replace("id}", "{ id }}");
    for (text, setting, found) in [
        (repeated("__typename ", 451), "fields", 451),
        (bomb(12, 3), "fields", 1_328_603),
        (format!("{{ {aliases} }}"), "aliases", 51),
        (
            repeated("__typename @skip(if: false) ", 31),
            "directives",
            31,
        ),
        (deep, "depth", 18),
        (
            "{ users(first: 100) { nodes { jobs(first: 100) { nodes { id } } } } }".to_owned(),
            "complexity",
            10 + 100 * (1 + 10 + 100 * 2),
        ),
    ] {
        let (code, message) = refused(defaults(), &text).await;
        assert_eq!(code, ErrorCode::LimitExceeded, "{message}");
        let setting = format!("(limits.{setting})");
        assert!(message.contains(&setting), "{message}, and not {setting}");
        assert!(
            message.contains(&format!("has {found} ")),
            "{message}, and not {found}"
        );
    }
    let (code, message) = refused(defaults(), "{ ...A } fragment A on Query { ...A }").await;
    assert_eq!(code, ErrorCode::BadRequest, "{message}");
}

#[tokio::test]
async fn what_is_turned_off_does_not_refuse() {
    let counting = Counting::default();
    let closed = Counting::default();
    let limits = LimitSettings::unlimited();
    let limited = Limited::new(counting, closed.clone(), &crate::graphql::sdl(), limits);
    let response = limited.execute(Request::new(bomb(12, 3))).await;
    assert!(response.errors.is_empty(), "{response:?}");
    assert_eq!(closed.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_operation_has_one_answer_and_a_subscription_all_of_its_own() {
    let limited = limited(&Counting::default(), defaults());
    for (text, answers) in [
        ("{ viewer { id } }", 1),
        ("mutation { signOut { userErrors { code } } }", 1),
        ("subscription { balanceChanged { total } }", 2),
    ] {
        let stream = limited.execute_stream(Request::new(text), None);
        assert_eq!(stream.count().await, answers, "{text}");
    }
}

#[tokio::test]
async fn a_subscription_has_one_field_at_its_root() {
    let limited = limited(&Counting::default(), defaults());
    for text in [
        "subscription { x: balanceChanged { total } }",
        "subscription { ... { ... on Subscription { balanceChanged { total held } } } }",
        "subscription { ...A } fragment A on Subscription { ...B } fragment B on Subscription { balanceChanged { total } }",
        "query A { viewer { id } jobs { totalCount } } subscription B { balanceChanged { total } }",
    ] {
        let request = Request::new(text).operation_name("B");
        let stream = limited.execute_stream(request, None);
        assert_eq!(stream.count().await, 2, "{text}");
    }
    for text in [
        "subscription { a: balanceChanged { total } b: balanceChanged { total } }",
        "subscription { balanceChanged { total } balanceChanged { total } }",
        "subscription { balanceChanged { total } __typename }",
        "subscription { __typename }",
        "subscription { ... { balanceChanged { total } jobUpdated { id } } }",
        "subscription { ...A ...A } fragment A on Subscription { balanceChanged { total } }",
        "subscription { ...A } fragment A on Subscription { balanceChanged { total } __typename }",
        "query A { viewer { id } } subscription B { balanceChanged { total } jobUpdated { id } }",
    ] {
        let (code, message) = refused(defaults(), text).await;
        assert_eq!(code, ErrorCode::BadRequest, "{text}: {message}");
        assert!(message.contains("exactly one field"), "{text}: {message}");
    }
}

/// A mutation that never ends.
#[derive(Clone)]
struct Endless;

impl Executor for Endless {
    async fn execute(&self, _: Request) -> Response {
        std::future::pending().await
    }

    fn execute_stream(&self, _: Request, _: Option<Arc<Data>>) -> BoxStream<'static, Response> {
        stream::pending().boxed()
    }
}

#[tokio::test]
async fn a_mutation_that_ran_out_of_time_is_answered_with_data_and_the_path_of_its_field() {
    let limits = LimitSettings {
        request_time: Duration::from_millis(1),
        ..defaults()
    };
    let limited = limited(&Endless, limits);
    for (text, field) in [
        ("mutation { signOut { userErrors { code } } }", "signOut"),
        ("mutation { out: signOut { userErrors { code } } }", "out"),
        (
            "mutation { ...A } fragment A on Mutation { ... { out: signOut { userErrors { code } } } }",
            "out",
        ),
    ] {
        let executed = limited.execute(Request::new(text)).await;
        let mut responses = limited.execute_stream(Request::new(text), None);
        for response in [executed, responses.next().await.unwrap()] {
            let answer = json!(response);
            let answer = answer.as_object().unwrap();
            assert_eq!(answer.get("data"), Some(&Value::Null), "{answer:?}");
            assert_eq!(answer["errors"][0]["path"], json!([field]));
            assert_eq!(answer["errors"][0]["extensions"]["code"], "LIMIT_EXCEEDED");
        }
    }
    // A query that was let go of did nothing.
    let response = limited.execute(Request::new("{ viewer { id } }")).await;
    assert!(response.errors[0].path.is_empty());
}

#[tokio::test]
async fn a_document_that_was_measured_before_is_not_measured_again() {
    let limited = limited(&Counting::default(), defaults());
    let rules = limited.rules();
    let text = bomb(12, 3);
    assert!(rules.note(&mut Request::new(&text)).is_err());
    assert!(!limited.execute(Request::new(text)).await.errors.is_empty());
    let mut noted = Request::new("{ __typename }");
    rules.note(&mut noted).unwrap();
    assert!(data_of::<Measured>(&noted.data).is_some());
    assert!(limited.execute(noted).await.errors.is_empty());
}

/// Admits a document by the defaults: the refusal's code, or none.
fn refusal(text: &str) -> Option<ErrorCode> {
    let rules = Rules::new(&crate::graphql::sdl(), defaults());
    let error = rules.admit(&mut Request::new(text)).err()?;
    ErrorCode::of(&error)
}

#[test]
fn introspection_costs_what_its_lists_multiply_to_and_that_of_every_tool_passes() {
    let schema = |inner: &str| complexity(&format!("{{ __schema {{ {inner} }} }}"), json!({}));
    assert_eq!(schema("queryType { name }"), 1 + 2);
    assert_eq!(schema("types { name }"), 1 + 1 + 5);
    assert_eq!(
        schema("types { fields { args { name } } }"),
        1 + 1 + 5 * (1 + 5 * (1 + 5))
    );
    // Anonymous callers may not introspect. That it is refused for this reason shows that it is within the limits.
    let within = Some(ErrorCode::Unauthenticated);
    assert_eq!(refusal(INTROSPECTION), within);
    let (cost, most) = (complexity(INTROSPECTION, json!({})), defaults().complexity);
    assert!(cost * 3 / 2 <= most, "{cost} of {most}");
    assert_eq!(refusal("{ __schema { types { name kind } } }"), within);
}

#[test]
fn the_schema_is_asked_for_once_and_few_types_by_name() {
    let within = Some(ErrorCode::Unauthenticated);
    let over = Some(ErrorCode::LimitExceeded);
    let types = |count: usize| {
        let types = (0..count).fold(String::new(), |text, number| {
            text + &format!("t{number}: __type(name: \"Job\") {{ name }} ")
        });
        format!("{{ {types} }}")
    };
    assert_eq!(refusal(&types(5)), within);
    assert_eq!(refusal(&types(6)), over);
    for text in [
        "{ __schema { description } x: __schema { description } }",
        "{ ...A ...A } fragment A on Query { __schema { description } }",
        "{ ... { __schema { description } } ...A } fragment A on Query { __schema { description } }",
    ] {
        assert_eq!(refusal(text), over, "{text}");
    }
    let together = "{ __schema { description } __type(name: \"Job\") { name } }";
    assert_eq!(refusal(together), within);
}

/// Waits between two steps until it is let go on, and says what it has done.
#[derive(Clone)]
struct TwoSteps {
    began: Arc<tokio::sync::Notify>,
    go: Arc<tokio::sync::Notify>,
    ended: Arc<tokio::sync::Notify>,
}

impl Executor for TwoSteps {
    async fn execute(&self, _: Request) -> Response {
        self.began.notify_one();
        self.go.notified().await;
        self.ended.notify_one();
        Response::new(true)
    }

    fn execute_stream(
        &self,
        request: Request,
        _: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let steps = self.clone();
        stream::once(async move { steps.execute(request).await }).boxed()
    }
}

#[tokio::test]
async fn a_mutation_ends_after_its_client_has_left_with_and_without_a_limit() {
    for request_time in [Duration::ZERO, Duration::from_hours(1)] {
        let steps = TwoSteps {
            began: Arc::default(),
            go: Arc::default(),
            ended: Arc::default(),
        };
        let limits = LimitSettings {
            request_time,
            ..defaults()
        };
        let limited = limited(&steps, limits);
        let mutation = || Request::new("mutation { signOut { userErrors { code } } }");
        let mut stream = limited.execute_stream(mutation(), None);
        for by_stream in [false, true] {
            tokio::select! {
                _ = limited.execute(mutation()), if !by_stream => panic!("it waits"),
                _ = stream.next(), if by_stream => panic!("it waits"),
                () = steps.began.notified() => {}
            }
            // The future of `execute` is gone; the stream goes here.
            if by_stream {
                drop(std::mem::replace(&mut stream, stream::empty().boxed()));
            }
            steps.go.notify_one();
            let ended = tokio::time::timeout(Duration::from_secs(20), steps.ended.notified());
            ended.await.expect("it goes on to its end");
        }
    }
}

/// Every document under a folder.
fn documents(folder: &std::path::Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            documents(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "graphql") {
            let text = std::fs::read_to_string(&path).unwrap();
            into.push((path.display().to_string(), text));
        }
    }
}

#[test]
fn the_documents_of_our_own_client_and_our_examples_are_far_within_the_limits() {
    let limits = defaults();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut ours = Vec::new();
    documents(examples.as_ref(), &mut ours);
    assert!(!ours.is_empty());
    for (name, document) in crate::client::DOCUMENTS {
        ours.push(((*name).to_owned(), (*document).to_owned()));
    }
    for (name, document) in ours {
        let sizes = measure(&document, json!({})).0.unwrap();
        for (found, most) in [
            (sizes.fields, limits.fields),
            (sizes.aliases, limits.aliases),
            (sizes.directives, limits.directives),
            (sizes.depth, limits.depth),
            (sizes.complexity, limits.complexity),
        ] {
            assert!(found * 2 <= most, "{name}: {found} of {most}: {sizes:?}");
        }
    }
}

#[tokio::test]
async fn introspection_is_for_signed_in_callers() {
    let limits = defaults();
    let rules = Rules::new(&crate::graphql::sdl(), limits.clone());
    let sizes = measure(INTROSPECTION, json!({})).0.unwrap();
    assert!(rules.check(&sizes).is_ok(), "{:?}", rules.check(&sizes));
    assert_eq!(no_introspection(true).code, ErrorCode::Forbidden);
    assert_eq!(no_introspection(false).code, ErrorCode::Unauthenticated);
    for text in [
        INTROSPECTION,
        "{ __type(name: \"Query\") { name } }",
        "{ ...A } fragment A on Query { x: __schema { description } }",
    ] {
        assert_eq!(
            refused(limits.clone(), text).await.0,
            ErrorCode::Unauthenticated,
            "{text}"
        );
    }
    // As long as the answer of one list is, so many times over.
    let nested =
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    let (code, message) = refused(limits.clone(), nested).await;
    assert_eq!(code, ErrorCode::LimitExceeded);
    assert!(message.contains("has 3 lists"), "{message}");
    let own_fields = "mutation { signOut { userErrors { field } } }";
    assert_eq!(measure(own_fields, json!({})).0.unwrap().schema_lists, 0);
}

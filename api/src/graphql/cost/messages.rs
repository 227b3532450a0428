//! Tidies up messages of async-graphql, which repeats whole values and lines of the document, and which in 7.2.1 suggests the
//! arguments of directives even where its suggestions are off (`known_argument_names`).

use async_graphql::Response;
use wharfinger_entity::CleanText;
use wharfinger_entity::clean_text::MESSAGE_LENGTH;

/// The beginning of a suggestion, which ends async-graphql's message.
const SUGGESTION: &str = " Did you mean ";

/// Bounds the messages of a response, and removes suggested names unless its caller may introspect (`open`).
pub(super) fn tidied(mut response: Response, open: bool) -> Response {
    for error in &mut response.errors {
        if error.message.chars().nth(MESSAGE_LENGTH).is_some() {
            error.message = CleanText::<MESSAGE_LENGTH>::new(&error.message).into();
        }
        // Errors of validation have no path. Messages of our own resolvers have one, and stay as they are.
        if !open
            && error.path.is_empty()
            && let Some(at) = error.message.find(SUGGESTION)
        {
            error.message.truncate(at);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};

    use super::*;

    struct Query;

    #[Object]
    impl Query {
        async fn one(&self) -> i32 {
            1
        }
    }

    #[tokio::test]
    async fn a_long_document_is_not_repeated() {
        let schema = Schema::new(Query, EmptyMutation, EmptySubscription);
        for document in [
            format!("{{ one }} {}", "\u{202e}?".repeat(100_000)),
            format!("{{ one @include(if: \"{}\") }}", "x".repeat(100_000)),
            format!("{{ {} }}", "x".repeat(100_000)),
        ] {
            let response = tidied(schema.execute(document).await, true);
            assert!(!response.errors.is_empty());
            for error in response.errors {
                assert!(error.message.chars().count() <= MESSAGE_LENGTH);
            }
        }
    }

    #[tokio::test]
    async fn only_callers_who_may_introspect_are_suggested_the_arguments_of_directives() {
        let builder = Schema::build(Query, EmptyMutation, EmptySubscription);
        let schema = builder.disable_suggestions().finish();
        let unknown = "Unknown argument \"reasn\" on directive \"deprecated\".";
        for (open, expected) in [
            (true, format!("{unknown} Did you mean \"reason\"?")),
            (false, unknown.to_owned()),
        ] {
            let response = schema.execute("{ one @deprecated(reasn: \"\") }").await;
            let response = tidied(response, open);
            let mut errors = response.errors.iter();
            let found = errors.any(|error| error.message == expected);
            assert!(found, "{:?}", response.errors);
        }
    }
}

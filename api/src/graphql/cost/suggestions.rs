//! Removes suggested names for callers who may not introspect. async-graphql 7.2.1 suggests the arguments of directives
//! even where its suggestions are off (`known_argument_names`).

use std::sync::Arc;

use async_graphql::{Data, Executor, Request, Response};
use futures::stream::{BoxStream, StreamExt as _};
use wharfinger_entity::CleanText;
use wharfinger_entity::clean_text::MESSAGE_LENGTH;

/// The beginning of a suggestion, which ends async-graphql's message.
const SUGGESTION: &str = " Did you mean ";

/// An executor that bounds its messages, and suggests names only where it is open.
#[derive(Clone)]
pub(crate) struct Suggesting<E> {
    pub(crate) executor: E,
    pub(crate) open: bool,
}

impl<E: Executor> Executor for Suggesting<E> {
    async fn execute(&self, request: Request) -> Response {
        let response = bounded(self.executor.execute(request).await);
        if self.open {
            response
        } else {
            closed(response)
        }
    }

    fn execute_stream(
        &self,
        request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let responses = self.executor.execute_stream(request, session);
        let responses = responses.map(bounded);
        if self.open {
            responses.boxed()
        } else {
            responses.map(closed).boxed()
        }
    }
}

/// Bounds the length of messages: async-graphql repeats whole values and lines of the document.
fn bounded(mut response: Response) -> Response {
    for error in &mut response.errors {
        if error.message.chars().nth(MESSAGE_LENGTH).is_some() {
            error.message = CleanText::<MESSAGE_LENGTH>::new(&error.message).into();
        }
    }
    response
}

/// Removes suggestions.
fn closed(mut response: Response) -> Response {
    for error in &mut response.errors {
        // Errors of validation have no path. Messages of our own resolvers have one, and stay as they are.
        if error.path.is_empty()
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
        let suggesting = Suggesting {
            executor: schema,
            open: true,
        };
        for document in [
            format!("{{ one }} {}", "\u{202e}?".repeat(100_000)),
            format!("{{ one @include(if: \"{}\") }}", "x".repeat(100_000)),
            format!("{{ {} }}", "x".repeat(100_000)),
        ] {
            let response = suggesting.execute(Request::new(document)).await;
            assert!(!response.errors.is_empty());
            for error in response.errors {
                assert!(error.message.chars().count() <= MESSAGE_LENGTH);
            }
        }
    }

    #[tokio::test]
    async fn only_an_open_executor_suggests_the_arguments_of_directives() {
        let builder = Schema::build(Query, EmptyMutation, EmptySubscription);
        let schema = builder.disable_suggestions().finish();
        let suggesting = |open| Suggesting {
            executor: schema.clone(),
            open,
        };
        let unknown = "Unknown argument \"reasn\" on directive \"deprecated\".";
        for (open, expected) in [
            (true, format!("{unknown} Did you mean \"reason\"?")),
            (false, unknown.to_owned()),
        ] {
            let request = || Request::new("{ one @deprecated(reasn: \"\") }");
            let executor = suggesting(open);
            let executed = executor.execute(request()).await;
            let streamed = executor.execute_stream(request(), None).next().await;
            for response in [executed, streamed.unwrap()] {
                let found = response
                    .errors
                    .iter()
                    .any(|error| error.message == expected);
                assert!(found, "{:?}", response.errors);
            }
        }
    }
}

//! Limits of how much one document may ask for.
//!
//! [`Rules`] measures a document ([`walk`], with the costs of [`weights`]) and refuses it before it is validated, and before its
//! caller is looked up, so that a document over a limit costs no statement. [`Limited`] stands in front of the schema, for every
//! transport: it executes no document that was not measured, decides who may introspect, ends what takes too long ([`time`]),
//! and tidies up async-graphql's messages ([`messages`]). The number of tokens is checked before a text is parsed
//! (`http::document::lexer`), the number of requests by `auth::rate_limit`.
//!
//! async-graphql's own limits are not used: they count after most of validation, walk a fragment each time that it is spread, and
//! report neither the limit nor the count.

mod messages;
mod rules;
mod sizes;
mod time;
mod walk;
mod weights;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use async_graphql::{Data, Executor, Request, Response};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use wharfinger_jobs::settings::LimitSettings;

use self::messages::tidied;
pub(crate) use self::rules::Rules;

/// Executes documents that are within the limits.
#[derive(Clone)]
pub(crate) struct Limited<E> {
    /// For callers who may introspect.
    open: E,
    /// For all others. It suggests no names either.
    closed: E,
    rules: Arc<Rules>,
}

impl<E: Executor> Limited<E> {
    /// Limits over two executors of one schema, whose SDL is given: one that answers introspection and suggests names, and
    /// one that does neither.
    pub(crate) fn new(open: E, closed: E, sdl: &str, limits: LimitSettings) -> Self {
        Self {
            open,
            closed,
            rules: Arc::new(Rules::new(sdl, limits)),
        }
    }

    /// The rules, for measuring documents before their callers are known.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    fn executor(&self, open: bool) -> &E {
        if open { &self.open } else { &self.closed }
    }
}

impl<E: Executor> Executor for Limited<E> {
    async fn execute(&self, mut request: Request) -> Response {
        let (measured, open) = match self.rules.admit(&mut request) {
            Ok(admitted) => admitted,
            Err(error) => return Response::from_errors(vec![error]),
        };
        let executor = self.executor(open);
        let limit = self.rules.limits().request_time;
        let response = if measured.operation == Some(OperationType::Mutation) {
            let executor = executor.clone();
            let mutation = async move { executor.execute(request).await };
            time::finish(limit, measured.field, mutation).await
        } else {
            time::give_up(limit, executor.execute(request)).await
        };
        tidied(response, open)
    }

    fn execute_stream(
        &self,
        mut request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let (measured, open) = match self.rules.admit(&mut request) {
            Ok(admitted) => admitted,
            Err(error) => {
                let response = Response::from_errors(vec![error]);
                return stream::once(std::future::ready(response)).boxed();
            }
        };
        let responses = self.executor(open).execute_stream(request, session);
        let responses = responses.map(move |response| tidied(response, open));
        let limit = self.rules.limits().request_time;
        match measured.operation {
            Some(OperationType::Mutation) => {
                stream::once(time::finish(limit, measured.field, only(responses))).boxed()
            }
            Some(OperationType::Query) => {
                stream::once(time::give_up(limit, only(responses))).boxed()
            }
            _ => responses.boxed(),
        }
    }
}

/// Returns the only response of a query or mutation.
async fn only(mut responses: impl Stream<Item = Response> + Unpin) -> Response {
    responses.next().await.unwrap_or_default()
}

//! Limits of how much one document may ask for.
//!
//! [`Rules`] measures a document ([`walk`], with the costs of [`weights`]) and refuses it before it is validated, and before its
//! caller is looked up, so that a document over a limit costs no statement. [`Limited`] stands in front of the schema, for every
//! transport: it executes no document that was not measured, decides who may introspect ([`suggestions`]), and ends what takes
//! too long ([`time`]). The number of tokens is checked before a text is parsed (`http::document::lexer`), the number of
//! requests by `auth::rate_limit`.
//!
//! async-graphql's own limits are not used: they count after most of validation, walk a fragment each time that it is spread, and
//! report neither the limit nor the count.

mod root_field;
mod rules;
mod sizes;
mod suggestions;
mod time;
mod walk;
mod weights;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use async_graphql::{Data, Executor, Request, Response};
use futures::stream::{self, BoxStream, StreamExt as _};
use wharfinger_jobs::settings::LimitSettings;

use self::rules::Admitted;
pub(crate) use self::rules::Rules;
pub(crate) use self::suggestions::Suggesting;

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

    fn executor(&self, admitted: &Admitted) -> &E {
        if admitted.open {
            &self.open
        } else {
            &self.closed
        }
    }
}

impl<E: Executor> Executor for Limited<E> {
    async fn execute(&self, mut request: Request) -> Response {
        let admitted = match self.rules.admit(&mut request) {
            Ok(admitted) => admitted,
            Err(response) => return *response,
        };
        let executor = self.executor(&admitted);
        let limit = self.rules.limits().request_time;
        match admitted.measured.operation {
            Some(OperationType::Mutation) => {
                let executor = executor.clone();
                let mutation = async move { executor.execute(request).await };
                time::finish(limit, admitted.measured.field, mutation).await
            }
            _ if limit == Duration::ZERO => executor.execute(request).await,
            _ => time::give_up(limit, executor.execute(request)).await,
        }
    }

    fn execute_stream(
        &self,
        mut request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        let admitted = match self.rules.admit(&mut request) {
            Ok(admitted) => admitted,
            Err(response) => return stream::once(std::future::ready(*response)).boxed(),
        };
        let responses = self.executor(&admitted).execute_stream(request, session);
        let limit = self.rules.limits().request_time;
        match admitted.measured.operation {
            Some(OperationType::Mutation) => stream::once(time::finish(
                limit,
                admitted.measured.field,
                only(responses),
            ))
            .boxed(),
            _ if limit == Duration::ZERO => responses,
            Some(OperationType::Query) => {
                stream::once(time::give_up(limit, only(responses))).boxed()
            }
            _ => responses,
        }
    }
}

/// Returns the only response of a query or mutation.
async fn only(mut responses: BoxStream<'static, Response>) -> Response {
    responses.next().await.unwrap_or_default()
}

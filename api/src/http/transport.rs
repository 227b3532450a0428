//! The state that the transports have in common.

use std::{sync::Arc, time::Duration};

use async_graphql::{Data, Executor, Request, Response, parser::types::OperationType};
use axum::http::request::Parts;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

use super::authenticator::Authenticator;
use super::document::cache::Documents;
use super::document::persisted::Persisted;
use super::document::selected::operation_type;
use super::document::trusted::TrustedDocuments;
use super::document::{lexer, reject_nul};
use super::operation::event_id::{CurrentEventId, Event};
use super::operation::sharing::Executions;
use super::rejection::Rejection;
use super::request::body::Room;
use super::response::cors::AllowedOrigins;
use super::response::error::Refusal;
use super::response::size_limit::AnswerBudget;
use super::spans::{self, in_span};

/// Bytes of memory for the longer bodies of all callers that are not known yet.
const UNKNOWN_CALLERS_ROOM: usize = 64 << 20;

/// Limits and deadlines of the transports.
#[derive(Debug, Clone)]
pub struct TransportSettings {
    /// Longest request body and longest WebSocket message, in bytes.
    pub max_body: usize,
    /// Most tokens of a document; 0 is no limit.
    pub max_tokens: usize,
    /// Longest response in bytes; 0 is no limit.
    pub max_answer: usize,
    /// Frames that one WebSocket may send in a second besides those that begin operations; 0 is no limit.
    pub frames_per_second: u32,
    /// Most operations that run at once on one WebSocket.
    pub max_operations: usize,
    /// How long a new WebSocket may stay without `connection_init`.
    pub init_timeout: Duration,
    /// Time between two pings. A peer that answers neither of two is gone.
    pub keep_alive: Duration,
    /// How long one message may wait for a client that does not read.
    pub send_timeout: Duration,
    /// Other sites whose pages may use the API.
    pub origins: AllowedOrigins,
    /// Time between two comments on a silent stream of events.
    pub sse_keep_alive: Duration,
    /// Most requests in one batch; 0 refuses batches.
    pub max_batch: usize,
    /// Most documents that are kept for clients that name them by their hash; 0 keeps none.
    pub persisted_entries: usize,
    /// Most bytes of these documents together.
    pub persisted_bytes: usize,
    /// The only documents that are executed; `None` executes any.
    pub trusted: Option<Arc<TrustedDocuments>>,
}

/// The executor, the authenticator in front of it, the limits, and the token that stops everything.
pub(crate) struct Transport<E, A> {
    executor: E,
    pub(crate) authenticator: A,
    documents: Documents,
    pub(crate) persisted: Persisted,
    pub(crate) settings: TransportSettings,
    pub(crate) shutdown: CancellationToken,
    /// Room for the longer bodies of callers that are not known yet.
    pub(crate) room: Room,
    /// Subscriptions that several connections share.
    executions: Executions,
}

impl<E: Executor, A: Authenticator> Transport<E, A> {
    pub(crate) fn new(
        executor: E,
        authenticator: A,
        settings: TransportSettings,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            executor,
            authenticator,
            documents: Documents::default(),
            persisted: Persisted::new(&settings),
            settings,
            shutdown,
            room: Room::new(UNKNOWN_CALLERS_ROOM),
            executions: Executions::default(),
        }
    }

    /// Parses a request's document and checks all that needs no caller: its tokens, its syntax, its cost. A refused
    /// document costs nothing else. Keeps the document in the caches, and returns the kind of its operation.
    pub(crate) fn prepare(
        &self,
        request: &mut Request,
    ) -> Result<Option<OperationType>, Rejection> {
        lexer::check(&request.query, self.settings.max_tokens)
            .map_err(|refusal| Rejection::Document(refusal.into_error()))?;
        let document = self.documents.parse(request).map_err(Rejection::Document)?;
        self.authenticator
            .document(request)
            .map_err(Rejection::Document)?;
        self.documents.keep(&request.query, &document);
        self.persisted.keep(request, &document);
        let name = request.operation_name.as_deref();
        Ok(operation_type(&document, name))
    }

    /// Identifies the caller of a prepared HTTP request.
    pub(crate) async fn identify(
        &self,
        parts: &Parts,
        request: &mut Request,
    ) -> Result<(), Refusal> {
        let data = std::mem::take(&mut request.data);
        request.data = self.authenticator.caller(parts, data).await?;
        Ok(())
    }

    /// Executes the operation of an identified caller that has one response.
    pub(crate) async fn execute(&self, mut request: Request) -> Response {
        let span = spans::operation(&mut request);
        if let Some(refusal) = reject_nul::refusal(&request) {
            return refusal;
        }
        let budget = AnswerBudget::new(self.settings.max_answer);
        let executing = self.executor.execute(request.data(budget.clone()));
        budget.settle(executing.instrument(span).await)
    }

    /// Returns the encoded responses of an admitted operation. It joins an execution that others have begun, on any
    /// transport, or begins one in `span`.
    pub(crate) fn responses(
        &self,
        mut request: Request,
        session: Option<Arc<Data>>,
        span: &Span,
    ) -> BoxStream<'static, Event> {
        let audience = self.authenticator.audience(&mut request);
        let id = CurrentEventId::of(&mut request);
        if let Some(id) = &id {
            request = request.data(id.clone());
        }
        let executor = self.executor.clone();
        let most = self.settings.max_answer;
        let execute = move |request: Request, session| {
            let budget = AnswerBudget::new(most);
            let responses = match reject_nul::refusal(&request) {
                Some(refusal) => stream::once(future::ready(refusal)).boxed(),
                None => executor.execute_stream(request.data(budget.clone()), session),
            };
            responses.map(move |response| Event::of(budget.settle(response), id.as_ref(), most))
        };
        match audience {
            // Without the session, because it ends with its connection and the execution may last longer.
            Some(audience) => self.executions.join(&audience, request, |request| {
                in_span(execute(request, None).boxed(), span.clone())
            }),
            None => execute(request, session).boxed(),
        }
    }
}

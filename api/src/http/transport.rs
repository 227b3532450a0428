//! What the transports have in common: the schema, the gate in front of it, the limits, and the sign to stop.

use std::{sync::Arc, time::Duration};

use async_graphql::{Data, Executor, parser::types::OperationType};
use futures::stream::{BoxStream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::authenticator::Gate;
use super::document::persisted::Persisted;
use super::document::selected::operation_type;
use super::document::trusted::TrustedDocuments;
use super::operation::event_id::{CurrentEventId, Event};
use super::operation::sharing::Executions;
use super::rejection::Rejection;
use super::response::cors::AllowedOrigins;
use super::response::size_limit::WithinBytes;
use super::spans::InSpan;
use super::{document, request};

/// Bytes of memory that the longer bodies of all callers that are not known yet may take together.
const ROOM_FOR_STRANGERS: usize = 64 << 20;

/// How much one client may ask of the transport. [`Default`] holds the values of `default.toml`.
#[derive(Debug, Clone)]
pub struct TransportSettings {
    /// Longest request body and longest WebSocket message, in bytes.
    pub max_body: usize,
    /// Most tokens of a document; 0 is any number.
    pub max_tokens: usize,
    /// Longest answer in bytes; 0 is any length.
    pub max_answer: usize,
    /// Frames that one WebSocket may send in a second beside the operations that it begins; 0 is any number.
    pub frames_per_second: u32,
    /// Operations that may run at once on one WebSocket.
    pub max_operations: usize,
    /// How long a fresh WebSocket may stay without its `connection_init`.
    pub init_timeout: Duration,
    /// Time between two pings; a peer that stays silent through two of them is gone.
    pub keep_alive: Duration,
    /// How long one message may wait for a client that does not read.
    pub send_timeout: Duration,
    /// Other sites whose pages may use the API.
    pub origins: AllowedOrigins,
    /// Time between two signs of life on a stream of events that has nothing to say.
    pub sse_keep_alive: Duration,
    /// Requests in one batch; 0 takes none.
    pub max_batch: usize,
    /// Documents that are kept for clients that name them by their hash; 0 keeps none.
    pub persisted_entries: usize,
    /// Bytes of these documents in all.
    pub persisted_bytes: usize,
    /// The only documents that are executed, if there is a list of them.
    pub trusted: Option<Arc<TrustedDocuments>>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            max_tokens: 5000,
            max_answer: 16 << 20,
            frames_per_second: 50,
            max_operations: 100,
            init_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(20),
            send_timeout: Duration::from_secs(30),
            origins: AllowedOrigins::default(),
            sse_keep_alive: Duration::from_secs(15),
            max_batch: 0,
            persisted_entries: 1000,
            persisted_bytes: 4 << 20,
            trusted: None,
        }
    }
}

/// What every request needs: the schema, the gate in front of it, the limits, and the sign to stop.
pub(crate) struct Transport<E, G> {
    pub(crate) executor: WithinBytes<E>,
    pub(crate) gate: G,
    pub(crate) documents: document::cache::Documents,
    pub(crate) persisted: Persisted,
    pub(crate) settings: TransportSettings,
    pub(crate) shutdown: CancellationToken,
    /// Room for longer bodies of callers that are not known yet.
    pub(crate) room: request::body::Room,
    /// Subscriptions that several connections have in common.
    pub(crate) executions: Executions,
}

impl<E: Executor, G: Gate> Transport<E, G> {
    pub(crate) fn new(
        executor: E,
        gate: G,
        settings: TransportSettings,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            executor: WithinBytes {
                executor,
                most: settings.max_answer,
            },
            gate,
            documents: document::cache::Documents::default(),
            persisted: Persisted::new(
                settings.trusted.clone(),
                settings.persisted_entries,
                settings.persisted_bytes,
            ),
            settings,
            shutdown,
            room: request::body::Room::new(ROOM_FOR_STRANGERS),
            executions: Executions::default(),
        }
    }

    /// Looks at a request's document as far as that needs no caller: its tokens, its syntax, its size. What is refused here
    /// has cost this look and nothing else. A document that was sent with its hash is kept from here on.
    pub(crate) fn prepare(
        &self,
        request: &mut async_graphql::Request,
    ) -> Result<Option<OperationType>, Rejection> {
        document::lexer::check(&request.query, self.settings.max_tokens)
            .map_err(|refusal| Rejection::Document(refusal.into_error()))?;
        let document = self.documents.parse(request).map_err(Rejection::Document)?;
        self.gate.document(request).map_err(Rejection::Document)?;
        self.documents.keep(&request.query, &document);
        self.persisted.keep(request, &document);
        let name = request.operation_name.as_deref();
        Ok(operation_type(document.tree(), name))
    }

    /// The encoded responses of an operation that was let in. One that others run already is joined, whatever they came by;
    /// the span is for one that is begun here.
    pub(crate) fn responses(
        &self,
        mut request: async_graphql::Request,
        session: Option<Arc<Data>>,
        span: &Span,
    ) -> BoxStream<'static, Event> {
        let audience = self.gate.audience(&mut request);
        let id = CurrentEventId::of(&mut request);
        if let Some(id) = &id {
            request = request.data(id.clone());
        }
        let executor = self.executor.clone();
        let most = self.settings.max_answer;
        let execute = move |request, session| {
            let responses = executor.execute_stream(request, session);
            responses.map(move |response| Event::of(response, id.as_ref(), most))
        };
        match audience {
            // Without the session: it ends with its connection, and the execution may last longer.
            Some(audience) => self
                .executions
                .join(&audience, request, |request| {
                    InSpan::over(execute(request, None).boxed(), span.clone())
                })
                .boxed(),
            None => execute(request, session).boxed(),
        }
    }
}

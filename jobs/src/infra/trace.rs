//! One trace from a request to the end of its job: through the database and the queue, over every attempt.
//!
//! A span of ours is recorded only where a pipeline is set up (`api/src/telemetry`); everything here does nothing
//! otherwise, except for the ids, which are in the log either way. See `api/docs/adr/0015-traces.md`.

use std::collections::HashMap;
use std::fmt;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::Empty;
use tracing::span::Id;
use tracing::{Span, debug_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;
use wharfinger_entity::job;

/// Characters of a `traceparent` of version 00; those of a later one begin the same.
const LENGTH: usize = 55;

/// A place in a trace: what a W3C `traceparent` says (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// Reads a `traceparent`; none if it is not one.
    pub fn parse(traceparent: &str) -> Option<Self> {
        // The propagator is content with fewer digits.
        let digits = |(index, byte): (usize, u8)| match index {
            2 | 35 | 52 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        let first = traceparent.as_bytes().get(..LENGTH)?;
        if !first.iter().copied().enumerate().all(digits) {
            return None;
        }
        let nothing = opentelemetry::Context::new();
        let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        let found = TraceContextPropagator::new().extract_with_context(&nothing, &headers);
        let context = found.span().span_context().clone();
        context.is_valid().then_some(Self(context))
    }

    /// The place of a span; none where no traces are recorded.
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context().span().span_context().clone();
        context.is_valid().then_some(Self(context))
    }

    /// The place of the current span; none where no traces are recorded.
    pub fn current() -> Option<Self> {
        Self::of(&Span::current())
    }

    /// A new trace that is not recorded, so that logs can be told apart by it.
    pub fn unrecorded() -> Self {
        Self(SpanContext::new(
            TraceId::from_bytes(rand::random()),
            SpanId::from_bytes(rand::random()),
            TraceFlags::NOT_SAMPLED,
            false,
            TraceState::NONE,
        ))
    }

    /// The id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }

    /// Makes a span, which must not have been entered yet, a child of this place.
    pub fn adopt(&self, span: &Span) {
        let parent = opentelemetry::Context::new().with_remote_span_context(self.0.clone());
        // It fails where no traces are recorded, which is fine.
        let _ = span.set_parent(parent);
    }

    /// Notes on a span that it has to do with this place, too.
    pub fn link(&self, span: &Span) {
        span.add_link(self.0.clone());
    }
}

/// As a `traceparent` of version 00.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sampled = u8::from(self.0.is_sampled());
        write!(
            f,
            "00-{}-{}-{sampled:02x}",
            self.0.trace_id(),
            self.0.span_id()
        )
    }
}

/// The span of an attempt of this name, which [`attempt`] completes. A macro, because the name of a span is a literal. Every
/// log line of the attempt is inside it, so it is enabled at every level.
macro_rules! attempt_span {
    ($name:literal) => {
        tracing::error_span!(
            parent: None,
            $name,
            otel.kind = "consumer",
            job.id = tracing::field::Empty,
            job.attempt = tracing::field::Empty,
            trace_id = tracing::field::Empty,
            messaging.destination.name = tracing::field::Empty,
            messaging.operation.type = "process",
            otel.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        )
    };
}
pub(crate) use attempt_span;

/// Completes the span of a running attempt: it is a child of the request that the job was last accepted with, whichever attempt
/// it is.
pub(crate) fn attempt(span: Span, job: &job::Model, host: &str) -> Span {
    span.record("job.id", tracing::field::display(job.id));
    span.record("job.attempt", job.attempt);
    span.record("messaging.destination.name", host);
    let request = job.traceparent.as_deref().and_then(TraceContext::parse);
    if let Some(request) = &request {
        request.adopt(&span);
    }
    // A job that came of no request, where no traces are recorded: its own id tells its lines apart as well.
    let trace_id = TraceContext::of(&span)
        .or(request)
        .map_or_else(|| job.id.simple().to_string(), |place| place.trace_id());
    span.record("trace_id", trace_id);
    span
}

/// The id of a job's trace, for lines outside of its attempts.
pub(crate) fn id_of(traceparent: Option<&str>, job_id: Uuid) -> String {
    let request = traceparent.and_then(TraceContext::parse);
    request.map_or_else(|| job_id.simple().to_string(), |request| request.trace_id())
}

/// The span of a phase of an attempt.
pub(crate) fn phase(name: &'static str) -> Span {
    match name {
        "resolve" => debug_span!("resolve"),
        "record" => debug_span!("record"),
        "transfer" => debug_span!("transfer", wharfinger.transfer.joined = Empty),
        "inspect" => debug_span!("inspect"),
        "remove" => debug_span!("remove"),
        "settle" => debug_span!("settle"),
        other => debug_span!("phase", otel.name = other),
    }
}

/// The span of a job's way into the queue of a host, in whichever process hands it out.
pub(crate) fn dispatch(host: &str, job_id: Uuid, traceparent: Option<&str>) -> Span {
    let Some(request) = traceparent.and_then(TraceContext::parse) else {
        return Span::none();
    };
    let span = debug_span!(
        parent: None,
        "dispatch",
        otel.kind = "producer",
        messaging.destination.name = host,
        messaging.operation.type = "send",
        messaging.message.id = %job_id,
        otel.status_code = Empty,
        error.type = Empty,
    );
    request.adopt(&span);
    span
}

/// The span of a request to another server, after OpenTelemetry's conventions for HTTP clients. None outside of a
/// trace: heartbeats and reconcilers would only make traces of one span each.
pub(crate) fn call(method: &'static str, template: &'static str) -> Span {
    let current = Span::current();
    if current.is_none() {
        return Span::none();
    }
    call_span(current.id(), method, template)
}

/// The same for a request that may go on when the current span has ended, because others joined it.
pub(crate) fn call_apart(method: &'static str, template: &'static str) -> Span {
    let current = Span::current();
    if current.is_none() {
        return Span::none();
    }
    let span = call_span(None, method, template);
    // It fails where no traces are recorded, which is fine.
    let _ = span.set_parent(current.context());
    span
}

fn call_span(parent: Option<Id>, method: &'static str, template: &'static str) -> Span {
    let span = debug_span!(
        parent: parent,
        "call",
        otel.name = Empty,
        otel.kind = "client",
        http.request.method = method,
        url.template = Empty,
        server.address = Empty,
        server.port = Empty,
        network.transport = Empty,
        http.response.status_code = Empty,
        otel.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        if template.is_empty() {
            span.record("otel.name", method);
        } else {
            span.record("otel.name", format!("{method} {template}"));
            span.record("url.template", template);
        }
    }
    span
}

/// Notes on a span that what it stands for failed, and how.
pub(crate) fn failed(span: &Span, kind: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let place = TraceContext::parse(TEXT).unwrap();
        assert_eq!(place.to_string(), TEXT);
        assert_eq!(place.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let unsampled = TEXT.replace("-01", "-00");
        let place = TraceContext::parse(&unsampled).unwrap();
        assert_eq!(place.to_string(), unsampled);
        let made = TraceContext::unrecorded();
        assert_eq!(
            TraceContext::parse(&made.to_string()).unwrap().to_string(),
            made.to_string()
        );
        assert!(made.to_string().ends_with("-00"));
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for text in [
            "",
            "00",
            &TEXT.replace("00-4", "ff-4"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
            &TEXT.to_uppercase(),
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_not_a_place_fits_into_the_column(text in "[ -~]{0,80}") {
            if let Some(place) = TraceContext::parse(&text) {
                prop_assert_eq!(place.to_string().len(), 55);
            }
        }
    }
}

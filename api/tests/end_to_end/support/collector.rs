//! A receiver of OpenTelemetry traces: OTLP over HTTP, as a collector has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Outcome;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::world::World;

/// A span as it was received.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace_id: String,
    pub(crate) id: String,
    /// Empty where it has none.
    pub(crate) parent: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The spans that it is linked to.
    pub(crate) links: Vec<String>,
    pub(crate) failed: bool,
}

/// A running receiver. It ends when this is dropped.
pub(crate) struct Collector {
    address: String,
    received: watch::Receiver<Vec<Span>>,
    /// Everything that came, as it came.
    bytes: Arc<Mutex<Vec<u8>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, received) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&bytes);
        let receive = move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            all.lock().unwrap().extend_from_slice(&body);
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            sender.send_modify(|spans| spans.extend(read(request)));
            let answer = ExportTraceServiceResponse::default().encode_to_vec();
            let media = [("content-type", "application/x-protobuf")];
            std::future::ready((StatusCode::OK, media, answer))
        };
        let app = Router::new().route("/v1/traces", post(receive));
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            received,
            bytes,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Lets the processes that start from now on send their traces here.
    pub(crate) fn receive_from(&self, world: &mut World) {
        let endpoint = format!("http://{}", self.address);
        world.set("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
        world.set("OTEL_BSP_SCHEDULE_DELAY", "100");
    }

    /// What has come of one trace so far.
    pub(crate) fn trace(&self, id: &str) -> Vec<Span> {
        let all = self.received.borrow();
        let of_trace = all.iter().filter(|span| span.trace_id == id);
        of_trace.cloned().collect()
    }

    /// Whether this text was in anything that has come.
    pub(crate) fn said(&self, text: &str) -> bool {
        contains(&self.bytes.lock().unwrap(), text)
    }

    /// How many spans have come.
    pub(crate) fn count(&self) -> usize {
        self.received.borrow().len()
    }
}

/// Whether a text is among some bytes.
pub(crate) fn contains(bytes: &[u8], text: &str) -> bool {
    let mut parts = bytes.windows(text.len());
    parts.any(|part| part == text.as_bytes())
}

fn read(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let of_resource = attributes(resource.resource.unwrap_or_default().attributes);
        let service = &of_resource["service.name"];
        let scopes = resource.scope_spans.into_iter();
        for span in scopes.flat_map(|scope| scope.spans) {
            let links = span.links.iter();
            let status = span.status.as_ref();
            spans.push(Span {
                service: service.clone(),
                kind: span.kind(),
                trace_id: hex::encode(&span.trace_id),
                id: hex::encode(&span.span_id),
                parent: hex::encode(&span.parent_span_id),
                links: links.map(|link| hex::encode(&link.span_id)).collect(),
                failed: status.is_some_and(|status| status.code() == Outcome::Error),
                name: span.name,
                attributes: attributes(span.attributes),
            });
        }
    }
    spans
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, String> {
    list.into_iter()
        .map(|KeyValue { key, value, .. }| (key, value.map_or_else(String::new, text)))
        .collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

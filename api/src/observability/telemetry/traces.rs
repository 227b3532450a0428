//! Traces, sent by OTLP over HTTP (`api/docs/adr/0015-traces.md`).
//!
//! Spans wait in a bounded queue for a thread of the SDK; those that do not fit are dropped. The HTTP requests run in the
//! program's own runtime, so that no second HTTP client or gRPC is needed.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, filter_fn};

use super::{BoxedLayer, Role, is_ours};
use crate::observability::settings::TelemetrySettings;

/// Deadline of a request to the collector.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long sending the last spans may take when the process stops.
const FLUSH: Duration = Duration::from_secs(3);

/// The running pipeline.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Builds the pipeline, and the layer that feeds it; `None` where no collector is configured.
    pub(crate) fn start(
        settings: TelemetrySettings<'_>,
        role: Role,
    ) -> anyhow::Result<Option<(Self, BoxedLayer)>> {
        let Some(endpoint) = &settings.traces.endpoint else {
            return Ok(None);
        };
        let url = format!("{}/v1/traces", endpoint.expose().trim_end_matches('/'));
        let client = InRuntime::new().context("cannot send traces")?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(url)
            .with_timeout(PATIENCE)
            .build()
            // The error could contain the URL.
            .map_err(|_| anyhow::anyhow!("cannot send traces to traces.endpoint"))?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(settings, role))
            .with_batch_exporter(SayingOnce {
                exporter,
                failing: AtomicBool::new(false),
            })
            .build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("wharfinger"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(
                filter_fn(|metadata| {
                    let most = if metadata.is_span() {
                        Level::DEBUG
                    } else {
                        Level::INFO
                    };
                    is_ours(metadata) && *metadata.level() <= most
                })
                .with_max_level_hint(LevelFilter::DEBUG),
            );
        Ok(Some((Self(provider), layer.boxed())))
    }

    /// Sends the last spans, within [`FLUSH`].
    pub(crate) async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH));
        let stopped = tokio::time::timeout(FLUSH + Duration::from_secs(1), stopping).await;
        if !matches!(stopped, Ok(Ok(Ok(())))) {
            tracing::debug!("the last spans may not have been sent");
        }
    }
}

fn resource(settings: TelemetrySettings<'_>, role: Role) -> Resource {
    let usual = match role {
        Role::Gateway { .. } => "wharfinger-gateway",
        Role::Worker => "wharfinger-worker",
    };
    let name = settings.traces.service_name.clone();
    Resource::builder()
        .with_service_name(name.unwrap_or_else(|| usual.to_owned()))
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new(
                "service.instance.id",
                format!("{}/{}", settings.host_name, std::process::id()),
            ),
            KeyValue::new("host.name", settings.host_name.to_owned()),
        ])
        .build()
}

/// An HTTP client whose requests run in the program's runtime, on whichever thread they are made.
#[derive(Debug)]
struct InRuntime {
    runtime: Handle,
    client: reqwest::Client,
}

impl InRuntime {
    fn new() -> reqwest::Result<Self> {
        // Fails where another client of this process has installed it, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            runtime: Handle::current(),
            client: reqwest::Client::builder()
                .timeout(PATIENCE)
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
        })
    }
}

#[async_trait]
impl HttpClient for InRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime
            .spawn(async move { client.send_bytes(request).await })
            .await?
    }
}

/// An exporter that logs once that it cannot export, and once that it can again. The SDK would log it for every batch.
#[derive(Debug)]
struct SayingOnce<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for SayingOnce<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        let failed = exported.is_err();
        if self.failing.swap(failed, Ordering::Relaxed) != failed {
            match &exported {
                Ok(()) => tracing::info!("traces are sent again"),
                Err(error) => {
                    let error = without_urls(error);
                    tracing::warn!(%error, "traces cannot be sent: they are dropped until the collector answers");
                }
            }
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Returns the texts of an error without URLs, which reqwest adds and which may contain a password.
fn without_urls(error: &dyn StdError) -> String {
    let text = error.to_string();
    let words = text.split(' ').map(|word| {
        if word.contains("://") {
            "(the collector)"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_left_out_of_errors() {
        let error =
            anyhow::anyhow!("error sending request for url (http://me:secret@host:1/v1/traces)");
        let text = without_urls(&*error);
        assert!(
            !text.contains("secret") && text.contains("error sending request"),
            "{text}"
        );
    }
}

//! Logs on standard error and in files, and traces.
//!
//! Logs are text on a terminal, and JSON otherwise and in files. Traces are sent only where a collector is configured:
//! without one nothing of OpenTelemetry runs, and a span costs what a disabled log line costs.

mod files;
mod traces;

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::observability::settings::{Rotation, TelemetrySettings};
pub(crate) use files::dropped_lines;

/// The kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A gateway, with a worker or without.
    Gateway { worker: bool },
    /// A worker.
    Worker,
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// The running log files and trace pipeline.
#[must_use = "what was said last is lost unless it is stopped"]
pub(crate) struct Telemetry {
    traces: Option<traces::Traces>,
    files: Option<WorkerGuard>,
}

/// Starts logging and, where it is configured, tracing. Must be called once, inside the runtime. Fails for bad directives,
/// or where log files cannot be written.
pub(crate) fn start(settings: TelemetrySettings<'_>, role: Role) -> anyhow::Result<Telemetry> {
    let mut layers: Vec<BoxedLayer> = vec![standard_error(settings.log)?];
    let works = matches!(role, Role::Worker | Role::Gateway { worker: true });
    let files = if works && settings.log_files.rotation != Rotation::Never {
        let (files, writer) = files::open(settings.data_dir, settings.log_files)?;
        let layer = fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(writer)
            .with_filter(chosen(settings.log)?);
        layers.push(layer.boxed());
        Some(files)
    } else {
        None
    };
    let (traces, layer) = traces::Traces::start(settings, role)?.unzip();
    layers.extend(layer);
    tracing_subscriber::registry().with(layers).init();
    Ok(Telemetry { traces, files })
}

/// Prints Wharfinger's own warnings on standard error, for a command that ends by itself: its standard output is for
/// scripts, and it keeps no log. Must be called once.
pub(crate) fn start_warnings() {
    let layer = fmt::layer()
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .with_filter(LevelFilter::WARN)
        .with_filter(filter_fn(is_ours));
    tracing_subscriber::registry().with(layer).init();
}

impl Telemetry {
    /// Sends and writes what is left, within a bounded time.
    pub(crate) async fn stop(self) {
        if let Some(traces) = self.traces {
            traces.stop().await;
        }
        drop(self.files);
    }
}

fn standard_error(directives: &str) -> anyhow::Result<BoxedLayer> {
    let layer = fmt::layer().with_writer(std::io::stderr);
    let filter = chosen(directives)?;
    Ok(if std::io::stderr().is_terminal() {
        layer
            .with_ansi(std::env::var_os("NO_COLOR").is_none())
            .with_filter(filter)
            .boxed()
    } else {
        layer.json().flatten_event(true).with_filter(filter).boxed()
    })
}

/// Returns the filter of the setting, without the trace level of other libraries, which print whole messages there, such as
/// a WebSocket message with a token.
fn chosen(directives: &str) -> anyhow::Result<impl Filter<Registry> + Send + Sync + use<>> {
    let asked = EnvFilter::try_new(directives)
        .with_context(|| format!("log: {directives:?} is not understood"))?;
    let discreet: FilterFn =
        filter_fn(is_discreet as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::TRACE);
    Ok(asked.and(discreet))
}

fn is_discreet(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || is_ours(metadata)
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("wharfinger")
}

//! The settings of metrics, log files and traces, as in `default.toml`.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use wharfinger_jobs::settings::{Secret, optional};

/// `metrics`: their listener, and labels that distinguish users and images.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSettings {
    /// The listener of `/metrics` alone; `None` serves it on the process' main listener.
    #[serde(deserialize_with = "optional")]
    pub listen: Option<SocketAddr>,
    /// Whether requests are counted by user.
    pub per_user: bool,
    /// Whether requests are counted by image.
    pub per_image: bool,
    /// Most values of either label. Further ones count as `other`.
    pub most_values: usize,
}

/// `log_files`: the rolling files of a worker, beside standard error.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFileSettings {
    /// When a new file begins.
    pub rotation: Rotation,
    /// Most files that are kept.
    pub keep: usize,
}

/// When a new log file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// Never, and there are no files.
    Never,
    /// At midnight, UTC.
    Daily,
    /// Every hour.
    Hourly,
}

/// `traces`: the OpenTelemetry pipeline, which is built only with an endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// The collector's base URL; `None` sends no traces. Secret, because it may contain a password.
    #[serde(deserialize_with = "optional")]
    pub endpoint: Option<Secret>,
    /// `service.name` of the traces; `None` uses the command's name.
    #[serde(deserialize_with = "optional")]
    pub service_name: Option<String>,
}

/// The settings of logs and traces.
#[derive(Clone, Copy, Debug)]
pub struct TelemetrySettings<'a> {
    /// Directives of `tracing-subscriber`.
    pub log: &'a str,
    /// The directory of log files is below it.
    pub data_dir: &'a Path,
    /// The name of this host, an attribute of its traces.
    pub host_name: &'a str,
    /// The rolling files.
    pub log_files: LogFileSettings,
    /// The trace pipeline.
    pub traces: &'a TraceSettings,
}

//! The settings of metrics, log files and traces, as they stand in `default.toml`.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use wharfinger_jobs::settings::{Secret, optional};

/// `metrics`: where they are, and labels of requests that tell users and images apart.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricSettings {
    /// The listener of `/metrics` alone; `None` serves it with everything else.
    #[serde(deserialize_with = "optional")]
    pub listen: Option<SocketAddr>,
    /// Whether requests are counted by user.
    pub per_user: bool,
    /// Whether requests are counted by image.
    pub per_image: bool,
    /// Values of either label before the rest counts as `other`.
    pub most_values: usize,
}

/// `log_files`: the rolling files beside standard error.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFileSettings {
    /// When a new file begins.
    pub rotation: Rotation,
    /// Files that are kept.
    pub keep: usize,
}

/// When a new log file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rotation {
    /// There are no files.
    Never,
    /// At midnight, UTC.
    Daily,
    /// With each hour.
    Hourly,
}

/// `traces`: the OpenTelemetry pipeline, which is built only where it has an endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// The collector's base URL; `None` sends no traces. Hidden, because it may have a password in it.
    #[serde(deserialize_with = "optional")]
    pub endpoint: Option<Secret>,
    /// `service.name` of what is sent; `None` names it after the command.
    #[serde(deserialize_with = "optional")]
    pub service_name: Option<String>,
}

/// What logs and traces need to know of the process.
#[derive(Clone, Copy, Debug)]
pub struct TelemetrySettings<'a> {
    /// Directives of `tracing-subscriber`.
    pub log: &'a str,
    /// Where log files go.
    pub data_dir: &'a Path,
    /// The name of this host, an attribute of its traces.
    pub host_name: &'a str,
    /// The rolling files.
    pub log_files: LogFileSettings,
    /// Where traces go.
    pub traces: &'a TraceSettings,
}

//! The settings of the whole program: `default.toml`, then a file, then the environment, then flags.
//!
//! A setting that is unknown or has a bad value stops the start with one line that names the setting, its source and what
//! would be right. These lines and `Debug` contain no secrets.

mod check;
mod error;
mod layers;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::Provider;
use ipnet::IpNet;
use serde::Deserialize;
use wharfinger_jobs::settings::{
    CreditSettings, DatabaseSettings, HostSettings, LimitSettings, ReconcileSettings,
    RegistrySettings, RetrySettings, Secret, SessionSettings, SweepSettings, WorkerSettings,
    duration, list, optional, parsed,
};

pub use self::error::{ConfigError, Origin};
use self::layers::Layers;
use crate::http::{AllowedOrigins, TransportSettings};
use crate::observability::settings::TelemetrySettings;
pub use crate::observability::settings::{
    LogFileSettings, MetricSettings, Rotation, TraceSettings,
};

/// The commented file with every setting and its default.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// Every setting, in the order of `default.toml`, which documents each.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port of the gateway.
    #[serde(deserialize_with = "parsed")]
    pub listen: SocketAddr,
    /// Reverse proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses or networks.
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Vec<String>,
    /// The certificate of the gateway's own listeners.
    pub tls: TlsSettings,
    /// Directory of the database and other files. Never empty once loaded.
    #[serde(deserialize_with = "parsed")]
    pub data_dir: PathBuf,
    /// Name of this Docker host in the fleet. Never empty once loaded.
    #[serde(deserialize_with = "parsed")]
    pub host_name: String,
    /// Log level, or directives of `tracing-subscriber`.
    #[serde(deserialize_with = "parsed")]
    pub log: String,
    /// URL of the database; [`Config::database_url`] has the default.
    #[serde(deserialize_with = "optional")]
    database_url: Option<Secret>,
    /// Connections to the database.
    pub database: DatabaseSettings,
    /// URL of Redis; `None` keeps queue and events in this process.
    #[serde(deserialize_with = "optional")]
    pub redis_url: Option<Secret>,
    /// URL of the engine; `None` means its usual socket.
    #[serde(deserialize_with = "optional")]
    pub docker_host: Option<String>,
    /// The keys that encrypt stored registry logins.
    #[serde(deserialize_with = "optional")]
    pub secret_key: Option<Secret>,
    /// A file with these keys.
    #[serde(deserialize_with = "optional")]
    pub secret_key_file: Option<PathBuf>,
    /// The registries that images may come from.
    pub registries: RegistrySettings,
    /// The first balance of a user, and the balance that a pull needs.
    pub credits: CreditSettings,
    /// When a failed job is tried again.
    pub retry: RetrySettings,
    /// How a worker runs jobs.
    pub worker: WorkerSettings,
    /// When a silent host is offline, and when it is lost.
    pub host: HostSettings,
    /// How often a worker compares its engine with the database.
    pub reconcile: ReconcileSettings,
    /// The scheduled clean-up.
    pub sweep: SweepSettings,
    /// The board of the queues.
    pub board: BoardSettings,
    /// The first administrator.
    pub admin: AdminSettings,
    /// How long a sign-in lasts.
    pub sessions: SessionSettings,
    /// Limits of requests, users and addresses.
    pub limits: LimitSettings,
    /// Deadlines of WebSocket clients.
    pub websocket: WebSocketSettings,
    /// Other sites whose pages may use the API.
    pub cors: CorsSettings,
    /// Server-sent events.
    pub sse: SseSettings,
    /// Documents that clients name by their hash.
    pub persisted_queries: PersistedQuerySettings,
    /// Compression of responses.
    pub compression: CompressionSettings,
    /// The collector of traces.
    pub traces: TraceSettings,
    /// The listener and labels of metrics.
    pub metrics: MetricSettings,
    /// Log files of a worker.
    pub log_files: LogFileSettings,
    /// How a process stops.
    pub shutdown: ShutdownSettings,
}

/// `shutdown`: how a process stops.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long a gateway serves requests after SIGTERM, while `/readyz` says that it is not ready.
    #[serde(deserialize_with = "duration")]
    pub unready: Duration,
}

/// `board`: the listener of apalis-board.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardSettings {
    /// Address and port; `None` turns the board off.
    #[serde(deserialize_with = "optional")]
    pub listen: Option<SocketAddr>,
}

/// `admin`: the first administrator of an empty database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    /// The administrator's name.
    #[serde(deserialize_with = "optional")]
    pub name: Option<String>,
    /// A file with the administrator's password.
    #[serde(deserialize_with = "optional")]
    pub password_file: Option<PathBuf>,
}

/// `websocket`: deadlines of clients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketSettings {
    /// For `connection_init`.
    #[serde(deserialize_with = "duration")]
    pub init_timeout: Duration,
    /// Time between two pings.
    #[serde(deserialize_with = "duration")]
    pub keep_alive: Duration,
    /// For reading a message that was sent.
    #[serde(deserialize_with = "duration")]
    pub send_timeout: Duration,
}

/// `tls`: both files, or neither.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate with its chain.
    #[serde(deserialize_with = "optional")]
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    #[serde(deserialize_with = "optional")]
    pub key_file: Option<PathBuf>,
}

/// `cors`: other sites' pages that may use the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorsSettings {
    /// Exact origins, such as `https://console.example`.
    #[serde(deserialize_with = "list")]
    pub allow_origins: Vec<String>,
}

/// `sse`: server-sent events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SseSettings {
    /// Time between two comments on a silent stream.
    #[serde(deserialize_with = "duration")]
    pub keep_alive: Duration,
}

/// `persisted_queries`: documents that clients name by their hash.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistedQuerySettings {
    /// Most documents that are kept; 0 keeps none.
    pub entries: usize,
    /// Most bytes of these documents together.
    pub bytes: usize,
    /// A manifest of the only documents that are executed; `None` executes any.
    #[serde(deserialize_with = "optional")]
    pub trusted_documents_file: Option<PathBuf>,
}

/// `compression`: of responses over HTTP.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompressionSettings {
    /// Least bytes of a response that is compressed; 0 compresses none.
    pub min_size: u64,
}

impl Config {
    /// Reads the settings of this process. `file` is that of `--config`; `flags` has only the flags that were given. Fails
    /// with the first setting that is wrong.
    pub fn load(file: Option<&Path>, flags: &dyn Provider) -> Result<Self, ConfigError> {
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self::from_sources(file, environment, flags)
    }

    /// Reads the settings from these sources, for tests.
    pub fn from_sources(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &dyn Provider,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::read(file, environment, flags)?;
        layers.refuse_unknown_keys()?;
        let extracted = layers.merged().extract_lossy();
        let mut config: Self = extracted.map_err(|error| ConfigError::of_value(&error, &layers))?;
        if config.data_dir.as_os_str().is_empty() {
            config.data_dir.clone_from(&layers.data_dir);
        }
        if config.host_name.is_empty() {
            config.host_name = layers.default_host_name()?;
        }
        check::check(&config, &layers)?;
        Ok(config)
    }

    /// Returns the URL of the database: that of a `SQLite` file in the data directory where none is set.
    pub fn database_url(&self) -> Secret {
        self.database_url.clone().unwrap_or_else(|| {
            let file = self.data_dir.join("wharfinger.db");
            Secret::new(format!("sqlite://{}?mode=rwc", file.display()))
        })
    }

    /// Returns the reverse proxies whose headers are believed.
    pub fn trusted_proxies(&self) -> Vec<IpNet> {
        let texts = self.trusted_proxies.iter();
        texts.filter_map(|text| check::network(text)).collect()
    }

    /// Returns the settings of logs and traces.
    pub fn telemetry(&self) -> TelemetrySettings<'_> {
        TelemetrySettings {
            log: &self.log,
            data_dir: &self.data_dir,
            host_name: &self.host_name,
            log_files: self.log_files,
            traces: &self.traces,
        }
    }

    /// Returns the settings of the GraphQL transport, without the trusted documents, whose file is not read here.
    pub fn transport(&self) -> TransportSettings {
        TransportSettings {
            max_body: self.limits.request_body,
            max_tokens: self.limits.tokens,
            max_answer: self.limits.answer_bytes,
            frames_per_second: self.limits.requests_per_second,
            max_operations: self.limits.operations_per_socket,
            init_timeout: self.websocket.init_timeout,
            keep_alive: self.websocket.keep_alive,
            send_timeout: self.websocket.send_timeout,
            // Valid, because the settings were checked when they were read.
            origins: AllowedOrigins::parse(&self.cors.allow_origins).unwrap_or_default(),
            sse_keep_alive: self.sse.keep_alive,
            max_batch: self.limits.requests_per_batch,
            persisted_entries: self.persisted_queries.entries,
            persisted_bytes: self.persisted_queries.bytes,
            trusted: None,
        }
    }
}

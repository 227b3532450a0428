//! The settings of the whole program: `default.toml`, then a file, then the environment, then flags.
//!
//! Anything that is not understood stops the start with one line that names the setting, where it came from and
//! what would be right. Secrets are in none of these lines, nor in `Debug`.

mod check;
mod error;
mod layers;

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use figment::{Figment, Profile, Provider, providers::Serialized};
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

/// Every setting. What each means is said in `default.toml`, in the same order.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port of the gateway.
    #[serde(deserialize_with = "parsed")]
    pub listen: SocketAddr,
    /// Reverse proxies that say in `X-Forwarded-For` for whom they ask.
    #[serde(deserialize_with = "list")]
    pub trusted_proxies: Vec<String>,
    /// The certificate of the gateway's own listeners.
    pub tls: TlsSettings,
    /// Where files live. Never empty once loaded.
    #[serde(deserialize_with = "parsed")]
    pub data_dir: PathBuf,
    /// The name of this Docker host. Never empty once loaded.
    #[serde(deserialize_with = "parsed")]
    pub host_name: String,
    /// What to log, as directives of `tracing-subscriber`.
    #[serde(deserialize_with = "parsed")]
    pub log: String,
    /// URL of the database; [`Config::database_url`] knows the default.
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
    /// Encrypts stored registry logins.
    #[serde(deserialize_with = "optional")]
    pub secret_key: Option<Secret>,
    /// The file that holds the key.
    #[serde(deserialize_with = "optional")]
    pub secret_key_file: Option<PathBuf>,
    /// Where images may come from.
    pub registries: RegistrySettings,
    /// What users get and what a pull needs.
    pub credits: CreditSettings,
    /// Trying again.
    pub retry: RetrySettings,
    /// Running jobs.
    pub worker: WorkerSettings,
    /// Hosts that fall silent.
    pub host: HostSettings,
    /// Comparing engine and database.
    pub reconcile: ReconcileSettings,
    /// The clean-up.
    pub sweep: SweepSettings,
    /// The board of the queues.
    pub board: BoardSettings,
    /// The first administrator.
    pub admin: AdminSettings,
    /// How long a sign-in lasts.
    pub sessions: SessionSettings,
    /// How much may be asked for.
    pub limits: LimitSettings,
    /// Patience with WebSocket clients.
    pub websocket: WebSocketSettings,
    /// Other sites' pages.
    pub cors: CorsSettings,
    /// Streams of events.
    pub sse: SseSettings,
    /// Documents that are named by their hash.
    pub persisted_queries: PersistedQuerySettings,
    /// Compression of answers.
    pub compression: CompressionSettings,
    /// Where traces go.
    pub traces: TraceSettings,
    /// What is counted.
    pub metrics: MetricSettings,
    /// What a worker keeps of its log.
    pub log_files: LogFileSettings,
    /// Stopping.
    pub shutdown: ShutdownSettings,
}

/// `shutdown`: how a process stops.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long a gateway that got SIGTERM serves requests while it says that it is not ready.
    #[serde(deserialize_with = "duration")]
    pub unready: Duration,
}

/// `board`: the listener of apalis-board.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoardSettings {
    /// `None` is off.
    #[serde(deserialize_with = "optional")]
    pub listen: Option<SocketAddr>,
}

/// `admin`: the first administrator of an empty database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSettings {
    /// Their name.
    #[serde(deserialize_with = "optional")]
    pub name: Option<String>,
    /// A file with their password.
    #[serde(deserialize_with = "optional")]
    pub password_file: Option<PathBuf>,
}

/// `websocket`: how long clients are waited for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSocketSettings {
    /// Until `connection_init`.
    #[serde(deserialize_with = "duration")]
    pub init_timeout: Duration,
    /// Between two pings.
    #[serde(deserialize_with = "duration")]
    pub keep_alive: Duration,
    /// Until a message is taken.
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
    /// Their exact origins.
    #[serde(deserialize_with = "list")]
    pub allow_origins: Vec<String>,
}

/// `sse`: server-sent events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SseSettings {
    /// Between two signs of life where there is nothing to say.
    #[serde(deserialize_with = "duration")]
    pub keep_alive: Duration,
}

/// `persisted_queries`: what is kept of documents that clients name by their hash, or the list of the only ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistedQuerySettings {
    /// How many are kept; 0 keeps none.
    pub entries: usize,
    /// How many bytes they have in all.
    pub bytes: usize,
    /// The manifest of trusted documents; `None` executes any.
    #[serde(deserialize_with = "optional")]
    pub trusted_documents_file: Option<PathBuf>,
}

/// `compression`: of answers over HTTP.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompressionSettings {
    /// Bytes from which on it is worth it; 0 compresses nothing.
    pub min_size: u64,
}

impl Config {
    /// Reads the settings of this process. `file` is `--config`; `flags` holds the flags that were given, and only
    /// those.
    pub fn load(file: Option<&Path>, flags: &dyn Provider) -> Result<Self, ConfigError> {
        let text = |name: OsString, value: OsString| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        };
        Self::from_sources(
            file,
            std::env::vars_os().map(|(name, value)| text(name, value)),
            flags,
        )
    }

    /// Reads the settings from what is given, for tests.
    pub fn from_sources(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &dyn Provider,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::read(file, environment, flags)?;
        layers.refuse_unknown_keys()?;
        let merged = layers.merged();
        let figment = Figment::from(Serialized::from(merged, Profile::Default));
        let mut config: Self = figment
            .extract_lossy()
            .map_err(|error| ConfigError::of_value(&error, &layers))?;
        if config.data_dir.as_os_str().is_empty() {
            config.data_dir = layers.default_data_dir();
        }
        if config.host_name.is_empty() {
            config.host_name = layers.default_host_name()?;
        }
        check::check(&config, &layers)?;
        Ok(config)
    }

    /// URL of the database: a `SQLite` file in the data directory unless another is set.
    pub fn database_url(&self) -> Secret {
        self.database_url.clone().unwrap_or_else(|| {
            let file = self.data_dir.join("wharfinger.db");
            Secret::new(format!("sqlite://{}?mode=rwc", file.display()))
        })
    }

    /// The reverse proxies that are believed.
    pub fn trusted_proxies(&self) -> Vec<IpNet> {
        let texts = self.trusted_proxies.iter();
        texts.filter_map(|text| check::network(text)).collect()
    }

    /// What logs and traces need to know.
    pub fn telemetry(&self) -> TelemetrySettings<'_> {
        TelemetrySettings {
            log: &self.log,
            data_dir: &self.data_dir,
            host_name: &self.host_name,
            log_files: self.log_files,
            traces: &self.traces,
        }
    }

    /// The limits of the GraphQL transport. The trusted documents are in a file, which is not read here.
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
            // Checked when the settings were read.
            origins: AllowedOrigins::parse(&self.cors.allow_origins).unwrap_or_default(),
            sse_keep_alive: self.sse.keep_alive,
            max_batch: self.limits.requests_per_batch,
            persisted_entries: self.persisted_queries.entries,
            persisted_bytes: self.persisted_queries.bytes,
            trusted: None,
        }
    }
}

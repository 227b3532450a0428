//! The settings of each part, as they stand in `default.toml`; `api` reads them and hands each part its own.
//!
//! Durations are written like `500ms`, `15s` or `5m`, lists as arrays or as text with commas, and an
//! empty text means "not set". What is wrong with a value is said by the `Deserialize` here, in words for a person.

mod values;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::Deserialize;
use wharfinger_entity::Credits;

pub use values::{Secret, credits, duration, labels, list, optional, parsed};

/// `registries`: where images may come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// `host[:port]` patterns that may be pulled from. `*` alone means every public address; loopback, private
    /// and link-local ones only where a pattern names them.
    #[serde(deserialize_with = "list")]
    pub allow: Vec<String>,
    /// Patterns that may not, whatever `allow` says.
    #[serde(deserialize_with = "list")]
    pub deny: Vec<String>,
}

/// `credits`: amounts as exact decimals with at most six places.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditSettings {
    /// Credits that a new user is granted.
    #[serde(deserialize_with = "credits")]
    pub initial: Credits,
    /// Credits that must be available for a pull, and that it holds at first.
    #[serde(deserialize_with = "credits")]
    pub minimum_to_pull: Credits,
}

/// `retry`: exponential back-off with full jitter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrySettings {
    /// Attempts before a job is dead, the first one included.
    pub max_attempts: u32,
    /// Upper bound of the wait after the first attempt; it doubles with each.
    #[serde(deserialize_with = "duration")]
    pub base_delay: Duration,
    /// Upper bound of every wait.
    #[serde(deserialize_with = "duration")]
    pub max_delay: Duration,
    /// How long a registry that limits how often it is asked (429) is waited for without its attempts being counted, from the
    /// first time that it said so.
    #[serde(deserialize_with = "duration")]
    pub rate_limit_patience: Duration,
}

/// `worker`: the process that runs jobs on one Docker host.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// Where a `wharfinger worker` answers `/healthz`, `/readyz` and `/metrics`; `None` is off.
    #[serde(deserialize_with = "optional")]
    pub listen: Option<SocketAddr>,
    /// How long a claimed job stays claimed without a sign of life.
    #[serde(deserialize_with = "duration")]
    pub lease: Duration,
    /// Jobs at once.
    pub concurrency: u32,
    /// A pull without any progress for this long is given up and tried again.
    #[serde(deserialize_with = "duration")]
    pub stall_timeout: Duration,
    /// A pull that takes longer than this is given up and tried again.
    #[serde(deserialize_with = "duration")]
    pub pull_timeout: Duration,
    /// How long running jobs may go on after a request to stop before they are handed back.
    #[serde(deserialize_with = "duration")]
    pub grace: Duration,
    /// Labels of this Docker host, by name, as the operator set them.
    #[serde(deserialize_with = "labels")]
    pub labels: BTreeMap<String, String>,
}

/// `host`: when a silent Docker host counts as gone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSettings {
    /// Silence after which a host is shown as offline.
    #[serde(deserialize_with = "duration")]
    pub offline_after: Duration,
    /// Silence after which its holdings are lost and refunded.
    #[serde(deserialize_with = "duration")]
    pub lost_after: Duration,
}

/// `reconcile`: comparing the engine with the database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconcileSettings {
    /// Time between two comparisons.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
}

/// `database`: connections to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Connections of one process to a database server, at most.
    pub connections: u32,
}

/// `sweep`: the clean-up that removes every private image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepSettings {
    /// A cron expression of five fields; `None` never sweeps by itself.
    #[serde(deserialize_with = "optional")]
    pub schedule: Option<String>,
    /// A sweep that was missed is made up for within this time.
    #[serde(deserialize_with = "duration")]
    pub catch_up: Duration,
}

/// `sessions`: people who signed in with a password.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionSettings {
    /// How long the token of a sign-in is good for.
    #[serde(deserialize_with = "duration")]
    pub lifetime: Duration,
}

/// `limits`: how much one user or client may ask for. 0 turns one off.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    /// Unfinished jobs of one user.
    pub live_jobs_per_user: u32,
    /// Pulls that one user may ask for in any hour.
    pub pulls_per_hour_per_user: u32,
    /// Requests of one user, or of one address that is not signed in, in a second.
    pub requests_per_second: u32,
    /// How long one request may take, and each of its statements.
    #[serde(deserialize_with = "duration")]
    pub request_time: Duration,
    /// Tokens of a document.
    pub tokens: usize,
    /// Fields of a document, counted wherever their fragments are spread.
    pub fields: u64,
    /// Aliases of a document.
    pub aliases: u64,
    /// Directives of a document.
    pub directives: u64,
    /// Fields inside each other.
    pub depth: u64,
    /// Highest cost of a document: about the number of fields of its answer.
    pub complexity: u64,
    /// Whether signed-in callers may ask for the schema, and get suggestions for a misspelt name.
    pub introspection: bool,
    /// Longest request body and WebSocket message, in bytes. Cannot be turned off.
    pub request_body: usize,
    /// Operations at once on one WebSocket. Cannot be turned off.
    pub operations_per_socket: usize,
    /// Longest answer in bytes.
    pub answer_bytes: usize,
    /// Sockets (WebSocket) of one user on one gateway.
    pub sockets_per_user: usize,
    /// Sockets (WebSocket) of one address on one gateway that have not said whose they are.
    pub unidentified_sockets_per_address: usize,
    /// Requests in one batch; 0 refuses batches.
    pub requests_per_batch: usize,
}

impl LimitSettings {
    /// Every limit that can be turned off is.
    pub fn unlimited() -> Self {
        Self {
            introspection: true,
            request_body: 1 << 20,
            operations_per_socket: 100,
            ..Self::default()
        }
    }
}

/// The settings of everything that happens to a job.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Amounts.
    pub credits: CreditSettings,
    /// When a failed attempt is followed by another.
    pub retry: RetrySettings,
    /// How a worker runs jobs.
    pub worker: WorkerSettings,
    /// When a host counts as gone.
    pub host: HostSettings,
    /// Time between two comparisons of the engine with the database.
    pub reconcile: ReconcileSettings,
    /// How much a user may ask for.
    pub limits: LimitSettings,
    /// How long a sign-in lasts.
    pub sessions: SessionSettings,
}

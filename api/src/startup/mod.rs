//! From settings to a running process, and to its end.
//!
//! The functions here connect a process to its database, queue and engine, as its settings say. [`data_dir`] makes the process'
//! files private, [`secret_key`] finds the key of stored logins, and [`first_admin`] fills an empty database. [`signals`] says
//! when to stop.

pub(crate) mod data_dir;
pub(crate) mod first_admin;
pub(crate) mod secret_key;
pub(crate) mod signals;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use wharfinger_jobs::engine::Engine;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::infra::db::Db;
use wharfinger_jobs::live::events::Events;
use wharfinger_jobs::queue::{JobQueue, MemoryQueue, RedisQueue};
use wharfinger_jobs::registry::{RegistryClient, RegistryRules, Timeouts};
use wharfinger_jobs::registry_credentials::check_keys;
use wharfinger_jobs::services::Services;
use wharfinger_jobs::settings::Settings;
use wharfinger_jobs::sweep_images::Schedule;
use wharfinger_jobs::worker::Worker;

use crate::config::Config;
use crate::http::TrustedDocuments;

/// Prefix of keys and channels in Redis.
const REDIS_PREFIX: &str = "wharfinger";

/// Connects to the database, with connections of their own for requests unless `request_time` is zero, and migrates it if
/// `migrate` says so.
pub(crate) async fn database(
    config: &Config,
    migrate: bool,
    request_time: Duration,
) -> anyhow::Result<Db> {
    let url = config.database_url();
    let connections = config.database.connections;
    let db = Db::connect_for_requests(url.expose(), connections, request_time)
        .await
        .context("cannot open the database (database_url)")?;
    if migrate {
        db.migrate()
            .await
            .context("cannot bring the database up to date")?;
    }
    Ok(db)
}

/// Returns the services of a gateway or a separate worker, over its [`database`]. [`Services::for_requests`] has those of a
/// gateway's requests.
pub(crate) async fn services(config: &Config, db: Db) -> anyhow::Result<Services> {
    let (queue, events) = match &config.redis_url {
        Some(url) => (
            JobQueue::Redis(
                RedisQueue::connect(url.expose(), REDIS_PREFIX).context("cannot use redis_url")?,
            ),
            Events::redis(url.expose(), REDIS_PREFIX).context("cannot use redis_url")?,
        ),
        None => (JobQueue::Memory(MemoryQueue::new()), Events::local()),
    };
    let settings = Settings {
        credits: config.credits.clone(),
        retry: config.retry.clone(),
        worker: config.worker.clone(),
        host: config.host.clone(),
        reconcile: config.reconcile.clone(),
        limits: config.limits.clone(),
        sessions: config.sessions.clone(),
    };
    let keys = secret_key::load(config)?.map(Arc::new);
    let services = Services::new(
        db,
        queue,
        events,
        Arc::new(settings),
        Arc::new(rules(config)?),
        Clock::system(),
    )
    .with_keys(keys);
    check_keys(&services)
        .await
        .context("cannot use the stored logins at registries")?;
    Ok(services)
}

fn rules(config: &Config) -> anyhow::Result<RegistryRules> {
    RegistryRules::parse(&config.registries.allow, &config.registries.deny)
        .context("registries.allow or registries.deny")
}

/// Reads the manifest of trusted documents; `None` where any document is executed.
pub(crate) fn trusted_documents(config: &Config) -> anyhow::Result<Option<Arc<TrustedDocuments>>> {
    let Some(file) = &config.persisted_queries.trusted_documents_file else {
        return Ok(None);
    };
    let cannot = || {
        format!(
            "bad value of persisted_queries.trusted_documents_file (WHARFINGER_PERSISTED_QUERIES__TRUSTED_DOCUMENTS_FILE): cannot use {}",
            file.display()
        )
    };
    let text = std::fs::read_to_string(file).with_context(cannot)?;
    let documents = TrustedDocuments::parse(&text).with_context(cannot)?;
    tracing::info!("{} trusted documents, and no others", documents.count());
    Ok(Some(Arc::new(documents)))
}

/// Returns the schedule of the clean-up; `None` where it is not scheduled.
pub(crate) fn sweep_schedule(config: &Config) -> anyhow::Result<Option<Schedule>> {
    let Some(text) = &config.sweep.schedule else {
        return Ok(None);
    };
    Ok(Some(Schedule {
        schedule: text.parse().context("sweep.schedule")?,
        catch_up: config.sweep.catch_up,
    }))
}

/// Returns a worker for the local engine. Fails where the engine's URL is bad, or the worker cannot register.
pub(crate) async fn local_worker(config: &Config, services: &Services) -> anyhow::Result<Worker> {
    let engine = Engine::connect(config.docker_host.as_deref())
        .context("cannot use docker_host (DOCKER_HOST)")?;
    let registry = RegistryClient::new(rules(config)?, Timeouts::default());
    let worker = Worker::join(services.clone(), engine, registry, &config.host_name)
        .await
        .context("cannot join the fleet")?;
    Ok(worker.succeeding(&config.data_dir).await)
}

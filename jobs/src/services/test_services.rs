//! The parts of a process on an SQLite database of its own, for unit tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wharfinger_entity::Credits;

use super::Services;
use crate::infra::clock::Clock;
use crate::infra::db::Db;
use crate::live::events::Events;
use crate::queue::{JobQueue, MemoryQueue};
use crate::registry::RegistryRules;
use crate::settings::{
    CreditSettings, HostSettings, LimitSettings, ReconcileSettings, RetrySettings, SessionSettings,
    Settings, WorkerSettings,
};

/// Settings whose every time is a second.
fn settings() -> Settings {
    let second = Duration::from_secs(1);
    Settings {
        credits: CreditSettings {
            initial: Credits::ZERO,
            minimum_to_pull: Credits::ZERO,
        },
        retry: RetrySettings {
            max_attempts: 1,
            base_delay: second,
            max_delay: second,
            rate_limit_patience: second,
        },
        worker: WorkerSettings {
            listen: None,
            lease: second,
            concurrency: 1,
            stall_timeout: second,
            pull_timeout: second,
            grace: second,
            labels: BTreeMap::new(),
        },
        host: HostSettings {
            offline_after: second,
            lost_after: second,
        },
        reconcile: ReconcileSettings { interval: second },
        limits: LimitSettings::unlimited(),
        sessions: SessionSettings { lifetime: second },
    }
}

/// The parts, on a new database in this folder.
pub(crate) async fn on_sqlite(folder: &tempfile::TempDir) -> Services {
    let url = format!("sqlite:{}/t.db?mode=rwc", folder.path().display());
    let db = Db::connect(&url).await.unwrap();
    db.migrate().await.unwrap();
    Services::new(
        db,
        JobQueue::Memory(MemoryQueue::new()),
        Events::local(),
        Arc::new(settings()),
        Arc::new(RegistryRules::parse(&[], &[]).unwrap()),
        Clock::system(),
    )
}

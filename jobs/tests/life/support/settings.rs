//! The settings of the tests.

use std::time::Duration;

use wharfinger_entity::Credits;
use wharfinger_jobs::settings::{
    CreditSettings, HostSettings, LimitSettings, ReconcileSettings, RetrySettings, SessionSettings,
    Settings, WorkerSettings,
};

/// Short times, few credits, and no limits.
pub(crate) fn settings() -> Settings {
    let ms = Duration::from_millis;
    Settings {
        credits: CreditSettings {
            initial: Credits::from_micro(100_000_000),
            minimum_to_pull: Credits::from_micro(1_000_000),
        },
        retry: RetrySettings {
            max_attempts: 3,
            base_delay: ms(50),
            max_delay: ms(200),
            rate_limit_patience: ms(21_600_000),
        },
        worker: WorkerSettings {
            listen: None,
            lease: ms(2000),
            concurrency: 4,
            stall_timeout: ms(20_000),
            pull_timeout: ms(60_000),
            grace: ms(200),
            labels: std::collections::BTreeMap::new(),
        },
        host: HostSettings {
            offline_after: ms(30_000),
            lost_after: ms(86_400_000),
        },
        reconcile: ReconcileSettings { interval: ms(500) },
        limits: LimitSettings::unlimited(),
        sessions: SessionSettings {
            lifetime: ms(3_600_000),
        },
    }
}

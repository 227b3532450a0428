//! Batched reads: a list of a hundred jobs with hosts, images and users costs one statement for each of these, not a
//! hundred.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::dataloader::Loader as Load;
use uuid::Uuid;
use wharfinger_entity::JobState;
use wharfinger_jobs::infra::db::{Db, DbErr};
use wharfinger_jobs::queries::{self, Viewer};

use super::types::{
    ApiToken, AuditEntry, Host, Image, Job, JobAttempt, LedgerEntry, RegistryCredential, User,
};

/// Reads what one viewer may see.
#[derive(Clone)]
pub(crate) struct Loader {
    pub(crate) db: Db,
    pub(crate) viewer: Viewer,
}

/// Loads `$value` by `$key(Uuid)`: `$pair` makes a key and a value of each row, and `$collect` a map of these.
macro_rules! load_by_id {
    ($(#[$doc:meta])* $key:ident => $value:ty, |$loader:ident, $ids:ident| $read:expr, |$row:pat_param| $pair:expr, $collect:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) struct $key(pub(crate) Uuid);

        impl Load<$key> for Loader {
            type Value = $value;
            type Error = Arc<DbErr>;

            async fn load(&self, keys: &[$key]) -> Result<HashMap<$key, $value>, Arc<DbErr>> {
                let $loader = self;
                let $ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
                let rows = $read.await.map_err(Arc::new)?;
                Ok($collect(rows.into_iter().map(|$row| {
                    let (id, value) = $pair;
                    ($key(id), value)
                })))
            }
        }
    };
}

load_by_id!(
    /// A user.
    UserId => User, |loader, ids| queries::users::by_ids(&loader.db, loader.viewer, &ids), |row| (row.id, row.into()), HashMap::from_iter
);
load_by_id!(
    /// A host.
    HostId => Host, |loader, ids| queries::hosts::by_ids(&loader.db, &ids), |row| (row.id, row.into()), HashMap::from_iter
);
load_by_id!(
    /// An image.
    ImageId => Image, |loader, ids| queries::images::by_ids(&loader.db, loader.viewer, &ids), |row| (row.image.id, row.into()), HashMap::from_iter
);
load_by_id!(
    /// A job.
    JobId => Job, |loader, ids| queries::jobs::by_ids(&loader.db, loader.viewer, &ids), |row| (row.id, row.into()), HashMap::from_iter
);
load_by_id!(
    /// An entry of a ledger.
    LedgerEntryId => LedgerEntry, |loader, ids| queries::ledger::by_ids(&loader.db, loader.viewer, &ids), |row| (row.id, row.into()), HashMap::from_iter
);
load_by_id!(
    /// An entry of the audit log.
    AuditEntryId => AuditEntry, |loader, ids| queries::audit::by_ids(&loader.db, loader.viewer, &ids), |row| (row.id, row.into()), HashMap::from_iter
);
load_by_id!(
    /// A login at a registry.
    RegistryCredentialId => RegistryCredential, |loader, ids| queries::registry_credentials::by_ids(&loader.db, loader.viewer, &ids), |row| (row.id, row.into()), HashMap::from_iter
);
load_by_id!(
    /// A token.
    ApiTokenId => ApiToken, |loader, ids| queries::tokens::by_ids(&loader.db, loader.viewer, &ids), |row| (row.id, ApiToken(row)), HashMap::from_iter
);
load_by_id!(
    /// The tokens of a user.
    TokensOf => Vec<ApiToken>, |loader, ids| queries::tokens::of_users(&loader.db, loader.viewer, &ids), |row| (row.user_id, ApiToken(row)), grouped
);
load_by_id!(
    /// The attempts of a job.
    AttemptsOf => Vec<JobAttempt>, |loader, ids| queries::jobs::attempts(&loader.db, loader.viewer, &ids), |row| (row.job_id, row.into()), grouped
);
load_by_id!(
    /// The live jobs of a host.
    LiveJobsOf => LiveJobs, |loader, ids| queries::hosts::live_jobs(&loader.db, &ids), |(host, state, count)| (host, (state, count)), added_up
);

fn grouped<K: Eq + Hash, V>(items: impl Iterator<Item = (K, V)>) -> HashMap<K, Vec<V>> {
    let mut found: HashMap<K, Vec<V>> = HashMap::new();
    for (key, item) in items {
        found.entry(key).or_default().push(item);
    }
    found
}

/// The live jobs of a host, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveJobs {
    /// Jobs that a worker runs.
    pub(crate) running: i64,
    /// Jobs that wait, for their first attempt or another.
    pub(crate) queued: i64,
}

fn added_up<K: Eq + Hash>(
    counts: impl Iterator<Item = (K, (JobState, i64))>,
) -> HashMap<K, LiveJobs> {
    let mut found: HashMap<K, LiveJobs> = HashMap::new();
    for (key, (state, count)) in counts {
        let jobs = found.entry(key).or_default();
        match state {
            JobState::Running => jobs.running += count,
            _ => jobs.queued += count,
        }
    }
    found
}

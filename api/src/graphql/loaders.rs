//! Batched reads: a list of a hundred jobs with hosts, images and users costs one statement for each of these, not a
//! hundred.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader as Load;
use uuid::Uuid;
use wharfinger_entity::{
    JobState, api_token, audit_entry, host, job, job_attempt, ledger_entry, registry_credential,
    user,
};
use wharfinger_jobs::infra::db::{Db, DbErr};
use wharfinger_jobs::queries::images::ImageView;
use wharfinger_jobs::queries::{self, Viewer};

/// Reads what one viewer may see.
pub(crate) struct Loader {
    db: Db,
    viewer: Viewer,
}

impl Loader {
    /// Reads for `viewer`.
    pub(crate) fn new(db: Db, viewer: Viewer) -> Self {
        Self { db, viewer }
    }
}

/// Loads `$value` by `$key(Uuid)`.
macro_rules! load_by_id {
    ($(#[$doc:meta])* $key:ident => $value:ty, |$loader:ident, $ids:ident| $read:expr, |$row:ident| $id:expr) => {
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
                Ok(rows.into_iter().map(|$row| ($key($id), $row)).collect())
            }
        }
    };
}

load_by_id!(
    /// A user.
    UserId => user::Model, |loader, ids| queries::users::by_ids(&loader.db, loader.viewer, &ids), |row| row.id
);
load_by_id!(
    /// A host.
    HostId => host::Model, |loader, ids| queries::hosts::by_ids(&loader.db, &ids), |row| row.id
);
load_by_id!(
    /// An image.
    ImageId => ImageView, |loader, ids| queries::images::by_ids(&loader.db, loader.viewer, &ids), |row| row.image.id
);
load_by_id!(
    /// A job.
    JobId => job::Model, |loader, ids| queries::jobs::by_ids(&loader.db, loader.viewer, &ids), |row| row.id
);
load_by_id!(
    /// An entry of a ledger.
    LedgerEntryId => ledger_entry::Model, |loader, ids| queries::ledger::by_ids(&loader.db, loader.viewer, &ids), |row| row.id
);
load_by_id!(
    /// An entry of the audit log.
    AuditEntryId => audit_entry::Model, |loader, ids| queries::audit::by_ids(&loader.db, loader.viewer, &ids), |row| row.id
);

load_by_id!(
    /// A login at a registry.
    RegistryCredentialId => registry_credential::Model, |loader, ids| queries::registry_credentials::by_ids(&loader.db, loader.viewer, &ids), |row| row.id
);

load_by_id!(
    /// A token.
    ApiTokenId => api_token::Model, |loader, ids| queries::tokens::by_ids(&loader.db, loader.viewer, &ids), |row| row.id
);

/// The tokens of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokensOf(pub(crate) Uuid);

impl Load<TokensOf> for Loader {
    type Value = Vec<api_token::Model>;
    type Error = Arc<DbErr>;

    async fn load(&self, keys: &[TokensOf]) -> Result<HashMap<TokensOf, Self::Value>, Arc<DbErr>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let mut found: HashMap<TokensOf, Self::Value> = HashMap::new();
        for token in queries::tokens::of_users(&self.db, self.viewer, &ids)
            .await
            .map_err(Arc::new)?
        {
            let own = found.entry(TokensOf(token.user_id)).or_default();
            own.push(token);
        }
        Ok(found)
    }
}

/// The attempts of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttemptsOf(pub(crate) Uuid);

impl Load<AttemptsOf> for Loader {
    type Value = Vec<job_attempt::Model>;
    type Error = Arc<DbErr>;

    async fn load(
        &self,
        keys: &[AttemptsOf],
    ) -> Result<HashMap<AttemptsOf, Self::Value>, Arc<DbErr>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let mut found: HashMap<AttemptsOf, Self::Value> = HashMap::new();
        for attempt in queries::jobs::attempts(&self.db, self.viewer, &ids)
            .await
            .map_err(Arc::new)?
        {
            found
                .entry(AttemptsOf(attempt.job_id))
                .or_default()
                .push(attempt);
        }
        Ok(found)
    }
}

/// The live jobs of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LoadOf(pub(crate) Uuid);

/// The live jobs of a host, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostLoad {
    /// Jobs that a worker runs.
    pub(crate) running: i64,
    /// Jobs that wait, for their first attempt or another.
    pub(crate) queued: i64,
}

impl Load<LoadOf> for Loader {
    type Value = HostLoad;
    type Error = Arc<DbErr>;

    async fn load(&self, keys: &[LoadOf]) -> Result<HashMap<LoadOf, HostLoad>, Arc<DbErr>> {
        let ids: Vec<Uuid> = keys.iter().map(|key| key.0).collect();
        let mut found: HashMap<LoadOf, HostLoad> = HashMap::new();
        for (host, state, count) in queries::hosts::live_jobs(&self.db, &ids)
            .await
            .map_err(Arc::new)?
        {
            let load = found.entry(LoadOf(host)).or_default();
            match state {
                JobState::Running => load.running += count,
                _ => load.queued += count,
            }
        }
        Ok(found)
    }
}

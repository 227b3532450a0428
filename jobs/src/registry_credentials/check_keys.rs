//! The check at the start of a process: it must be able to read the stored logins.

use std::collections::BTreeSet;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, IntoActiveModel,
    PaginatorTrait, QueryFilter, QuerySelect,
};
use uuid::Uuid;
use wharfinger_entity::registry_credential;

use super::{open, owner};
use crate::infra::db::{for_update, in_transaction};
use crate::infra::keyring::Keyring;
use crate::services::Services;

/// Why a process is not to start.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There are logins, and no key.
    #[error(
        "{0} logins at registries are stored, and there is no key to read them: set secret_key or secret_key_file (WHARFINGER_SECRET_KEY, WHARFINGER_SECRET_KEY_FILE) to the key of the other processes"
    )]
    Missing(u64),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Fails where logins are stored and this process has no key. Warns where some need a key that it does not have: their
/// users can save them again. Where it has several keys, encrypts again by the first what needs one of the others.
pub async fn check_keys(services: &Services) -> Result<(), KeysError> {
    let db = services.db.read();
    let Some(keys) = services.keys.as_deref() else {
        return match registry_credential::Entity::find().count(db).await? {
            0 => Ok(()),
            stored => Err(KeysError::Missing(stored)),
        };
    };
    let older: Vec<Uuid> = registry_credential::Entity::find()
        .select_only()
        .column(registry_credential::Column::Id)
        .filter(registry_credential::Column::KeyId.ne(keys.current()))
        .into_tuple()
        .all(db)
        .await?;
    let mut unreadable = BTreeSet::new();
    let mut count = 0;
    for id in older {
        if let Some(key_id) = renew(services, keys, id).await? {
            unreadable.insert(key_id);
            count += 1;
        }
    }
    if count > 0 {
        tracing::warn!(
            "{count} stored logins at registries cannot be read: they need other keys than secret_key has ({unreadable:?}). Give the keys back, or have the logins saved again"
        );
    }
    Ok(())
}

/// Encrypts one login by the first key. Returns the id of the key that it would take to read it, if that is not there.
async fn renew(services: &Services, keys: &Keyring, id: Uuid) -> Result<Option<String>, DbErr> {
    in_transaction!(services.db, |tx| {
        let select = registry_credential::Entity::find_by_id(id);
        let Some(row) = for_update(&tx, select).one(&tx).await? else {
            return Ok::<_, DbErr>(None);
        };
        let Ok(secret) = open(keys, &row) else {
            return Ok(Some(row.key_id));
        };
        let owner = owner(row.user_id, &row.registry, &row.username);
        let again = keys.seal(&owner, &secret);
        let mut row = row.into_active_model();
        row.key_id = Set(again.key_id);
        row.sealed = Set(again.text);
        row.update(&tx).await?;
        Ok(None)
    })
}

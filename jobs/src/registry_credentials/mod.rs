//! Logins of users at private registries: saved, used for their own pulls, never given out again.
//!
//! A login is kept for one registry, under the name that rules and references agree on (Docker Hub is one under all its
//! names), and is shown to that registry only, to the token service that the registry names, and to the engine for a
//! pull from that registry. A pull asks without it first, so a public image is pulled without a login. A deleted login is
//! not used again: it is read when it is needed, and not kept.

mod check_keys;
mod save;

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::registry_credential;
use zeroize::Zeroizing;

pub use check_keys::{KeysError, check_keys};
pub use save::{SaveRegistryCredential, save_registry_credential};

use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::keyring::{Keyring, OpenError, Sealed};
use crate::registry::{Login, canonical_name};
use crate::services::Services;

/// Why a login that is there cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// This process has no key.
    #[error("a login for {0} is saved, and the worker of this host has no secret_key to read it")]
    NoKey(String),
    /// It cannot be decrypted.
    #[error("the saved login for {0} cannot be read: {1}. Save it again")]
    Unreadable(String, OpenError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// The login that a user has saved for a registry (`host[:port]`, as in references), if there is one at this moment.
pub(crate) async fn login_for(
    services: &Services,
    user_id: Uuid,
    registry: &str,
) -> Result<Option<Login>, LoginError> {
    let Some(registry) = canonical_name(registry) else {
        return Ok(None);
    };
    let row = registry_credential::Entity::find()
        .filter(registry_credential::Column::UserId.eq(user_id))
        .filter(registry_credential::Column::Registry.eq(&registry))
        .one(services.db.read())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Some(keys) = services.keys.as_deref() else {
        return Err(LoginError::NoKey(registry));
    };
    match open(keys, &row) {
        Ok(mut secret) => Ok(Some(Login::new(row.username, std::mem::take(&mut *secret)))),
        Err(error) => Err(LoginError::Unreadable(registry, error)),
    }
}

/// Deletes a login of this user; later pulls do without it. Another user's login is answered like an unknown one.
pub async fn delete_registry_credential(
    services: &Services,
    user_id: Uuid,
    id: Option<Uuid>,
) -> Result<(), ServiceError> {
    if let Some(id) = id {
        let deleted = registry_credential::Entity::delete_many()
            .filter(registry_credential::Column::Id.eq(id))
            .filter(registry_credential::Column::UserId.eq(user_id))
            .exec(services.db.write())
            .await?;
        if deleted.rows_affected > 0 {
            return Ok(());
        }
    }
    Err(UserError::new(
        UserErrorCode::NotFound,
        "registryCredentialId",
        "you have no such login: `viewer { registryCredentials { id } }` lists yours",
    )
    .into())
}

/// Whose login it is and where it is for: what its ciphertext is bound to.
fn owner(user_id: Uuid, registry: &str, username: &str) -> Vec<u8> {
    let mut owner = b"wharfinger registry login 1".to_vec();
    owner.extend(user_id.as_bytes());
    // A name has no byte 0.
    owner.extend(registry.as_bytes());
    owner.push(0);
    owner.extend(username.as_bytes());
    owner
}

/// Decrypts the stored secret of a login.
fn open(keys: &Keyring, row: &registry_credential::Model) -> Result<Zeroizing<String>, OpenError> {
    let sealed = Sealed {
        key_id: row.key_id.clone(),
        text: row.sealed.clone(),
    };
    keys.open(&owner(row.user_id, &row.registry, &row.username), &sealed)
}

//! Logins of users at private registries: saved, used for their own pulls, never given out again.
//!
//! A login is kept for one registry, under the name that rules and references agree on (Docker Hub is one under all its
//! names), and is shown to that registry only, to the token service that the registry names, and to the engine for a
//! pull from that registry. A pull asks without it first, so a public image is pulled without a login. A deleted login is
//! not used again: it is read when it is needed, and not kept.

mod check_keys;
mod login;
mod save;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::registry_credential;

pub use check_keys::{KeysError, check_keys};
pub(crate) use login::{LoginError, login_for};
pub use save::{SaveRegistryCredential, save_registry_credential};

use crate::error::{ServiceError, UserError, UserErrorCode};
use crate::infra::keyring::Sealed;
use crate::services::Services;

/// Deletes a login of this user; later pulls do without it. Another user's login is answered like an unknown one.
pub async fn delete_registry_credential(
    services: &Services,
    user_id: Uuid,
    id: Option<Uuid>,
) -> Result<(), ServiceError> {
    let deleted = match id {
        Some(id) => {
            registry_credential::Entity::delete_many()
                .filter(registry_credential::Column::Id.eq(id))
                .filter(registry_credential::Column::UserId.eq(user_id))
                .exec(services.db.write())
                .await?
                .rows_affected
        }
        None => 0,
    };
    if deleted == 0 {
        return Err(UserError::new(
            UserErrorCode::NotFound,
            "registryCredentialId",
            "you have no such login: `viewer { registryCredentials { id } }` lists yours",
        )
        .into());
    }
    Ok(())
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

/// The stored secret of a login.
fn sealed(row: &registry_credential::Model) -> Sealed {
    Sealed {
        key_id: row.key_id.clone(),
        text: row.sealed.clone(),
    }
}

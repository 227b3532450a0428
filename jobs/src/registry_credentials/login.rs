//! A user's login, read when it is needed.

use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use uuid::Uuid;
use wharfinger_entity::registry_credential;

use super::{owner, sealed};
use crate::infra::keyring::OpenError;
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
    match keys.open(&owner(user_id, &registry, &row.username), &sealed(&row)) {
        Ok(mut secret) => Ok(Some(Login::new(row.username, std::mem::take(&mut *secret)))),
        Err(error) => Err(LoginError::Unreadable(registry, error)),
    }
}
